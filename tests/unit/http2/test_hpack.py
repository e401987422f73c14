"""Headers, beside the codec of the hyper project."""

from __future__ import annotations

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from vmsdk.http2.hpack import (
    ENTRY_BYTES,
    MAX_KNOWN_BYTES,
    MAX_LIST_BYTES,
    TABLE_BYTES,
    Decoder,
    Header,
    HPACKError,
    _from_huffman,
    _known_text,
    encode,
)

names = st.sampled_from([b":path", b":authority", b"te", b"grpc-timeout", b"x"]) | st.binary(max_size=20)
headers = st.lists(st.tuples(names, st.binary(max_size=200)), max_size=8)
huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.lists(st.tuples(headers, st.booleans(), st.none() | st.integers(0, TABLE_BYTES)), max_size=12))
def test_blocks_of_another_encoder_are_decoded(blocks: list[tuple[list[Header], bool, int | None]]) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    for block, is_huffman, table_bytes in blocks:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        assert list(decoder.decode(encoder.encode(block, huffman=is_huffman))) == block


@given(headers)
def test_another_decoder_decodes_our_blocks_and_keeps_nothing_of_them(block: list[Header]) -> None:
    decoder = hpack.Decoder()
    assert [tuple(each) for each in decoder.decode(encode(block), raw=True)] == block
    assert not decoder.header_table.dynamic_entries


def test_long_texts_and_numbers_are_encoded() -> None:
    block = [(b"n" * 127, b"v" * 5000)]
    assert list(Decoder().decode(encode(block))) == block


@given(st.binary(max_size=64) | st.binary(min_size=1, max_size=40).map(huffman.encode))
def test_huffman_codes_are_decoded_or_refused_as_by_another_decoder(data: bytes) -> None:
    try:
        expected: bytes | None = decode_huffman(data)
    except hpack.HPACKError:
        expected = None
    try:
        found: bytes | None = _from_huffman(data)
    except HPACKError:
        found = None
    assert found == expected


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_garbage_is_refused_or_decoded(blocks: list[bytes]) -> None:
    decoder = Decoder()
    for block in blocks:
        try:
            found = decoder.decode(block)
        except HPACKError:
            return
        assert all(len(header) == 2 for header in found)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x80", "no entry 0"),
        (b"\xbe", "no entry 62"),
        (b"\x40", "cut off"),
        (b"\x00\x05abc", "cut off"),
        (b"\xff\xff\xff\xff\xff\x7f", "more than four bytes"),
        (b"\x3f\xe2\x1f", "a table of 4097 bytes"),
        (b"\x00\x84\xff\xff\xff\xff\x00", "end of a text"),
        (b"\x00\x81\x18\x00", "cut off"),
    ],
)
def test_each_way_to_break_the_encoding_is_named(block: bytes, reason: str) -> None:
    with pytest.raises(HPACKError, match=reason):
        Decoder().decode(block)


def test_a_list_of_headers_has_a_limit_though_its_block_is_short() -> None:
    # One entry of the table, again and again: a small block, and as many headers as it has bytes.
    value = b"v" * (TABLE_BYTES - ENTRY_BYTES - 1)
    first = hpack.Encoder().encode([(b"n", value)], huffman=False)
    Decoder().decode(first + b"\xbe" * (MAX_LIST_BYTES // TABLE_BYTES - 1))
    with pytest.raises(HPACKError, match=f"more than {MAX_LIST_BYTES} bytes"):
        Decoder().decode(first + b"\xbe" * (MAX_LIST_BYTES // TABLE_BYTES))


def test_long_texts_are_not_remembered() -> None:
    decoder, before = Decoder(), _known_text.cache_info().currsize
    decoder.decode(b"\x20")
    block = hpack.Encoder().encode([(b"name", b"0" * 2 * MAX_KNOWN_BYTES)])
    assert decoder.decode(block) is not decoder.decode(block)
    assert _known_text.cache_info().currsize <= before + 1  # the name


def test_a_block_is_remembered_only_while_there_is_no_table() -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    entry = [(b"name", b"value")]
    inserts = encoder.encode(entry)
    refers = encoder.encode(entry)
    assert inserts != refers
    assert decoder.decode(inserts) == decoder.decode(refers) == tuple(entry)
    decoder.decode(b"\x20")
    with pytest.raises(HPACKError, match="no entry 62"):
        decoder.decode(refers)
    assert decoder.decode(inserts) is decoder.decode(inserts)
