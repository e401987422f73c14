"""The linear codec reads what it writes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsdk import bls, warp
from vmsdk.codec import Reader, Writer
from vmsdk.errors import InvalidEncoding, InvalidPublicKey
from vmsdk.ids import ID


class Shape(NamedTuple):
    """A type of the codec: its values, and how to write and read one."""

    values: st.SearchStrategy[Any]
    write: Callable[[Writer, Any], Any]
    read: Callable[[Reader], Any]


def integers(bits: int, *, signed: bool = False) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


SIMPLE = [
    Shape(integers(8), Writer.u8, Reader.u8),
    Shape(integers(16), Writer.u16, Reader.u16),
    Shape(integers(32), Writer.u32, Reader.u32),
    Shape(integers(64), Writer.u64, Reader.u64),
    Shape(integers(8, signed=True), Writer.i8, Reader.i8),
    Shape(integers(16, signed=True), Writer.i16, Reader.i16),
    Shape(integers(32, signed=True), Writer.i32, Reader.i32),
    Shape(integers(64, signed=True), Writer.i64, Reader.i64),
    Shape(st.booleans(), Writer.boolean, Reader.boolean),
    Shape(st.text(st.characters(codec="utf-8"), max_size=20), Writer.string, Reader.string),
    Shape(st.binary(max_size=20), Writer.blob, Reader.blob),
    Shape(st.binary(min_size=4, max_size=4), Writer.fixed, lambda reader: reader.fixed(4)),
]


def sequence(element: Shape) -> Shape:
    return Shape(
        st.lists(element.values, max_size=5).map(tuple),
        lambda writer, values: writer.sequence(values, element.write),
        lambda reader: reader.sequence(element.read),
    )


def pair(element: Shape) -> Shape:
    return Shape(
        st.tuples(element.values, element.values),
        lambda writer, values: writer.array(values, element.write),
        lambda reader: reader.array(2, element.read),
    )


def mapping(value: Shape) -> Shape:
    return Shape(
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), value.values, max_size=5),
        lambda writer, values: writer.mapping(values, Writer.string, value.write),
        lambda reader: reader.mapping(Reader.string, value.read),
    )


shapes = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: inner.map(sequence) | inner.map(pair) | inner.map(mapping),
    max_leaves=3,
)


@given(st.data(), st.lists(shapes, min_size=1, max_size=5))
def test_a_structure_survives_encoding_and_decoding(data: st.DataObject, fields: list[Shape]) -> None:
    values = [data.draw(field.values) for field in fields]
    writer = Writer()
    for field, value in zip(fields, values, strict=True):
        field.write(writer, value)
    reader = Reader(writer.getvalue())
    assert [field.read(reader) for field in fields] == values
    reader.end()


@given(st.lists(shapes, min_size=1, max_size=5), st.binary(max_size=64))
def test_garbage_is_refused_or_encoded_the_same_again(fields: list[Shape], garbage: bytes) -> None:
    reader = Reader(garbage)
    try:
        values = [field.read(reader) for field in fields]
    except InvalidEncoding:
        return
    writer = Writer()
    for field, value in zip(fields, values, strict=True):
        field.write(writer, value)
    assert writer.getvalue() == garbage[: reader.offset]


payloads = st.builds(warp.Hash, st.binary(min_size=32, max_size=32).map(ID)) | st.builds(
    warp.AddressedCall, st.binary(max_size=40), st.binary(max_size=100)
)
unsigned = st.builds(
    warp.UnsignedMessage,
    integers(32),
    st.binary(min_size=32, max_size=32).map(ID),
    st.binary(max_size=100) | payloads.map(lambda payload: payload.encode()),
)
messages = st.builds(
    warp.Message,
    unsigned,
    st.builds(warp.BitSetSignature.of, st.sets(st.integers(0, 100)), st.binary(min_size=96, max_size=96)),
)


@given(payloads, messages)
def test_warp_messages_survive_encoding_and_decoding(
    payload: warp.Hash | warp.AddressedCall, message: warp.Message
) -> None:
    assert warp.decode_payload(payload.encode()) == payload
    assert warp.UnsignedMessage.decode(message.unsigned.encode()) == message.unsigned
    assert warp.Message.decode(message.encode()) == message


@given(st.binary(max_size=200) | messages.map(lambda message: message.encode()), st.integers(0, 200))
def test_damaged_warp_messages_are_refused_or_encoded_the_same_again(data: bytes, cut: int) -> None:
    for damaged in (data, data[:cut], data[cut:], data[:cut] + b"\0" + data[cut:]):
        for decode in (warp.Message.decode, warp.UnsignedMessage.decode, warp.decode_payload):
            try:
                decoded = decode(damaged)
            except InvalidEncoding:
                continue
            assert decoded.encode() == damaged


@pytest.mark.warp
@given(st.binary(max_size=100) | st.binary(min_size=47, max_size=47).map(b"\x8a".__add__))
def test_any_bytes_are_a_public_key_or_are_refused(data: bytes) -> None:
    try:
        uncompressed = bls.uncompress(data)
    except InvalidPublicKey as error:
        assert str(error) in ("couldn't decompress public key", "invalid public key")  # noqa: PT017
    else:
        assert bls.compress(uncompressed) == data
