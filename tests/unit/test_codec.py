"""The nodes' linear codec."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vmsdk.codec import DEFAULT_MAX_SIZE_BYTES, Reader, Writer
from vmsdk.errors import InvalidEncoding

Read = Callable[[Reader], object]


def refused(rule: str) -> pytest.RaisesExc[InvalidEncoding]:
    return pytest.RaisesExc(InvalidEncoding, check=lambda error: error.rule == rule)


def test_integers_are_big_endian_and_in_twos_complement() -> None:
    writer = Writer().u8(1).u16(2).u32(3).u64(4).i8(-1).i16(-2).i32(-3).i64(-4)
    assert writer.getvalue().hex(" ", 1) == (
        "01 00 02 00 00 00 03 00 00 00 00 00 00 00 04 ff ff fe ff ff ff fd ff ff ff ff ff ff ff fc"
    )
    reader = Reader(writer.getvalue())
    assert [reader.u8(), reader.u16(), reader.u32(), reader.u64()] == [1, 2, 3, 4]
    assert [reader.i8(), reader.i16(), reader.i32(), reader.i64()] == [-1, -2, -3, -4]
    reader.end()


def test_strings_bytes_and_fixed_bytes() -> None:
    writer = Writer().string("hé").blob(b"\xaa\xbb").fixed(b"\xcc").boolean(True).boolean(False)
    assert writer.getvalue().hex() == "0003" + "68c3a9" + "00000002" + "aabb" + "cc" + "01" + "00"
    reader = Reader(writer.getvalue())
    assert (reader.string(), reader.blob(), reader.fixed(1)) == ("hé", b"\xaa\xbb", b"\xcc")
    assert (reader.boolean(), reader.boolean()) == (True, False)
    reader.end()


def test_a_list_has_a_count_and_an_array_has_none() -> None:
    writer = Writer().sequence([7, 8], Writer.u16).array([9, 10], Writer.u16)
    assert writer.getvalue().hex() == "00000002" + "00070008" + "0009000a"
    reader = Reader(writer.getvalue())
    assert reader.sequence(Reader.u16) == (7, 8)
    assert reader.array(2, Reader.u16) == (9, 10)
    reader.end()


def test_a_map_is_written_in_the_order_of_its_encoded_keys() -> None:
    writer = Writer().mapping({"b": 1, "a": 2, "aa": 3}, Writer.string, Writer.u8)
    assert writer.getvalue().hex() == "00000003" + "00016102" + "00016201" + "0002616103"
    assert Reader(writer.getvalue()).mapping(Reader.string, Reader.u8) == {"a": 2, "b": 1, "aa": 3}


def test_a_value_of_an_interface_has_the_type_id_before_it() -> None:
    data = Writer().type_id(1).u8(5).getvalue()
    assert data.hex() == "0000000105"
    assert Reader(data).interface([Reader.boolean, Reader.u8]) == 5
    assert Reader(data).type_id(0, 1) == 1


def test_an_object_begins_with_its_codec_version() -> None:
    data = Writer().version(0).u8(5).getvalue()
    assert data.hex() == "000005"
    reader = Reader(data)
    assert reader.version(0, 1) == 0
    assert (reader.offset, reader.remaining) == (2, 1)


def test_edge_99_a_trailing_byte_is_refused() -> None:
    reader = Reader(b"\0\1\2", "block")
    reader.u16()
    with refused("trailing buffer space") as caught:
        reader.end()
    assert str(caught.value) == "trailing buffer space: read 2 provided 3 bytes of the block"


def test_edge_99_a_bool_is_0_or_1() -> None:
    with refused("unexpected value when unpacking bool") as caught:
        Reader(b"\2", "flag").boolean()
    assert str(caught.value) == "unexpected value when unpacking bool: 2, at byte 0 of the flag"


@pytest.mark.parametrize(
    "pairs", [pytest.param("02010102", id="descending"), pytest.param("01010102", id="twice")]
)
def test_edge_99_a_map_with_unsorted_keys_is_refused(pairs: str) -> None:
    with refused("keys aren't sorted"):
        Reader(bytes.fromhex("00000002" + pairs)).mapping(Reader.u8, Reader.u8)


def test_two_keys_with_one_encoding_cannot_be_written() -> None:
    with refused("keys aren't sorted"):
        Writer().mapping({1: 1, 2: 2}, lambda writer, key: writer.u8(0), Writer.u8)


@pytest.mark.parametrize("length", range(8))
def test_bytes_that_end_too_early_are_reported_with_their_place(length: int) -> None:
    reader = Reader(bytes(2 + length), "height")
    reader.u16()
    with refused("packer has insufficient length for input") as caught:
        reader.u64()
    assert f"8 bytes needed at byte 2 of the height, but only {length} left" in str(caught.value)


def test_a_length_beyond_the_bytes_is_refused_without_allocating_memory() -> None:
    with refused("packer has insufficient length for input"):
        Reader(b"\x7f\xff\xff\xff").blob()
    with refused("packer has insufficient length for input"):
        Reader(b"\x7f\xff\xff\xff\0").sequence(Reader.u8)


@pytest.mark.parametrize(
    "read",
    [
        Reader.blob,
        lambda reader: reader.sequence(Reader.u8),
        lambda reader: reader.mapping(Reader.u8, Reader.u8),
    ],
)
def test_a_list_of_2_to_the_31_elements_is_refused(read: Read) -> None:
    with refused("max slice length exceeded"):
        read(Reader(b"\x80\0\0\0" + bytes(8)))
    with refused("max slice length exceeded"):
        Writer().count(2**31)


def test_elements_that_are_empty_when_encoded_are_refused_both_ways() -> None:
    with refused("can't unmarshal zero length value"):
        Reader(b"\x7f\xff\xff\xff").sequence(lambda reader: None)
    with refused("can't unmarshal zero length value"):
        Reader(b"\0\0\0\1").mapping(lambda reader: None, lambda reader: None)
    with refused("can't marshal zero length value"):
        Writer().sequence([None], lambda writer, value: None)
    with refused("can't marshal zero length value"):
        Writer().mapping({None: None}, lambda writer, key: None, lambda writer, value: None)


def test_an_unknown_or_missing_version_is_refused() -> None:
    with refused("unknown codec version") as caught:
        Reader(b"\0\1", "block").version(0)
    assert str(caught.value) == "unknown codec version: 1 in the block"
    with refused("couldn't unpack codec version"):
        Reader(b"\0").version(0)


@pytest.mark.parametrize(
    "read", [lambda reader: reader.interface([Reader.u8]), lambda reader: reader.type_id(0, 2)]
)
def test_an_unknown_type_is_refused_with_its_number(read: Read) -> None:
    with refused("couldn't unmarshal interface") as caught:
        read(Reader(b"\0\0\0\1\0", "output"))
    assert str(caught.value).endswith("unknown type ID 1, at byte 0 of the output")


def test_more_than_256_kib_are_refused_unless_another_limit_is_given() -> None:
    longest = bytes(DEFAULT_MAX_SIZE_BYTES - 4)
    data = Writer().blob(longest).getvalue()
    assert len(data) == 256 * 1024
    assert Reader(data).blob() == longest
    with refused("packer has insufficient length for input"):
        Writer().blob(longest).u8(0)
    with refused("byte array exceeds maximum length"):
        Reader(data + b"\0")
    assert Reader(Writer(max_size=None).blob(data).getvalue(), max_size=None).blob() == data


def test_the_limit_applies_to_the_keys_of_a_map() -> None:
    with refused("packer has insufficient length for input"):
        Writer(max_size=8).mapping({"a": 1}, Writer.string, Writer.u64)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (Writer.u8, 256),
        (Writer.u8, -1),
        (Writer.u16, 2**16),
        (Writer.u32, 2**32),
        (Writer.u64, 2**64),
        (Writer.i8, 128),
        (Writer.i64, -(2**63) - 1),
    ],
)
def test_a_number_that_does_not_fit_is_refused(write: Callable[[Writer, int], Writer], value: int) -> None:
    with refused("input does not match expected format") as caught:
        write(Writer(), value)
    assert str(value) in str(caught.value)


def test_a_string_longer_than_65535_bytes_cannot_be_written() -> None:
    assert len(Writer().string("x" * 65_535).getvalue()) == 65_537
    with refused("input does not match expected format"):
        Writer().string("é" * 32_768)


def test_a_string_that_is_not_utf_8_is_refused_both_ways() -> None:
    with refused("input does not match expected format"):
        Reader(b"\0\2\xff\xfe").string()
    with refused("input does not match expected format"):
        Writer().string("\udc80")


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda: Writer().u8("7"), "'7' is not an int"),  # type: ignore[arg-type]
        (lambda: Writer().i64(1.0), "1.0 is not an int"),  # type: ignore[arg-type]
        (lambda: Writer().fixed("id"), "'id' is not bytes"),  # type: ignore[arg-type]
        (lambda: Writer().fixed(5), "5 is not bytes"),  # type: ignore[arg-type]
        (lambda: Writer().blob("data"), "'data' is not bytes"),  # type: ignore[arg-type]
        (lambda: Writer().blob(None), "None is not bytes"),  # type: ignore[arg-type]
        (lambda: Writer().sequence(None, Writer.u8), "None is not a list"),  # type: ignore[arg-type]
        (lambda: Writer().string(b"text"), "b'text' is not a str"),  # type: ignore[arg-type]
        (lambda: Reader("data"), "'data' is not bytes"),  # type: ignore[arg-type]
        (lambda: Reader(None), "None is not bytes"),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_another_type_is_named(write: Callable[[], object], kind: str) -> None:
    with pytest.raises(TypeError, match=f"^{kind}$"):
        write()


def test_a_negative_length_is_refused() -> None:
    reader = Reader(b"abc")
    reader.u8()
    with pytest.raises(InvalidEncoding, match="-1 bytes needed"):
        reader.fixed(-1)
    assert reader.offset == 1
