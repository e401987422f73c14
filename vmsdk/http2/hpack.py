"""HPACK (RFC 7541): the headers of HTTP/2, as a gRPC server reads and writes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

Header: TypeAlias = tuple[bytes, bytes]

TABLE_BYTES = 4096
"""The limit of the dynamic table until the client has our settings. Source: RFC 7540, 6.5.2."""
ENTRY_BYTES = 32
"""The size of an entry in addition to its name and value. Source: RFC 7541, 4.1."""
MAX_LIST_BYTES = 16 << 10
"""The limit for a call's headers: their names and values, and `ENTRY_BYTES` for each."""
MAX_KNOWN_BLOCKS = 256
MAX_KNOWN_TEXTS = 1024
MAX_KNOWN_BYTES = 1024
"""Longer blocks and texts are not cached."""

# RFC 7541, appendix A. The first has the index 1.
_STATIC_TEXT = """
:authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200
:status=204 :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset
accept-encoding=gzip,_deflate accept-language accept-ranges accept access-control-allow-origin age
allow authorization cache-control content-disposition content-encoding content-language
content-length content-location content-range content-type cookie date etag expect expires from host
if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location
max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server
set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate
"""
_STATIC: tuple[Header, ...] = tuple(
    (name.encode(), value.replace("_", " ").encode())
    for name, _, value in (entry.partition("=") for entry in _STATIC_TEXT.split())
)

# RFC 7541, appendix B: the length in bits of the code of each byte, and of the end of a text. Codes
# of one length are in the order of their bytes, and follow the shorter ones.
_CODE_BITS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_END_OF_TEXT = 256


_Code: TypeAlias = tuple[int, int]
"""The length of a code in bits, and the bits."""


def _huffman_codes() -> dict[_Code, int]:
    """The byte of each code."""
    codes = {}
    code = length = 0
    for symbol in sorted(range(len(_CODE_BITS)), key=lambda symbol: (_CODE_BITS[symbol], symbol)):
        code <<= _CODE_BITS[symbol] - length
        length = _CODE_BITS[symbol]
        codes[length, code] = symbol
        code += 1
    return codes


def _beginnings(codes: dict[_Code, int]) -> list[_Code | None]:
    """For each byte, the length and the symbol of the code that it starts with; None if the code is
    longer.
    """
    found: list[_Code | None] = [None] * 256
    for (length, code), symbol in codes.items():
        if length <= 8:
            first = code << 8 - length
            found[first : first + (1 << 8 - length)] = [(length, symbol)] * (1 << 8 - length)
    return found


_HUFFMAN = _huffman_codes()
_SHORT = _beginnings(_HUFFMAN)
_SHORTEST_LONG_BITS = 10
_LONGEST_BITS = 30


class HPACKError(ValueError):
    """A block of headers that breaks RFC 7541, or is too long."""


class Decoder:
    """Decodes the header blocks of one connection, in their order.

    A client that may not use a dynamic table sends the same block in each call of a method. So the
    headers of such a block are cached.
    """

    def __init__(self) -> None:
        self._entries: deque[Header] = deque()
        self._bytes = 0
        self._limit = TABLE_BYTES
        self._known: dict[bytes, tuple[Header, ...]] = {}

    def decode(self, block: bytes) -> tuple[Header, ...]:
        """The headers in *block*. Raises `HPACKError`; the connection must then be closed."""
        headers = self._known.get(block)
        if headers is None:
            try:
                headers = tuple(self._headers(block))
            except IndexError:
                raise HPACKError("a block is cut off") from None
            if not self._limit and len(block) <= MAX_KNOWN_BYTES:
                if len(self._known) >= MAX_KNOWN_BLOCKS:
                    self._known.clear()
                self._known[block] = headers
        return headers

    def _headers(self, block: bytes) -> Iterator[Header]:
        at = size = 0
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _number(block, at, 0x7F)
                header = self._entry(index)
            elif first & 0xE0 == 0x20:
                limit, at = _number(block, at, 0x1F)
                self._resize(limit)
                continue
            else:
                is_kept = bool(first & 0x40)
                index, at = _number(block, at, 0x3F if is_kept else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
                header = (name, value)
                if is_kept:
                    self._keep(header)
            size += _size(header)
            if size > MAX_LIST_BYTES:
                raise HPACKError(f"more than {MAX_LIST_BYTES} bytes of headers")
            yield header

    def _entry(self, index: int) -> Header:
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        if not 0 < index - len(_STATIC) <= len(self._entries):
            raise HPACKError(f"there is no entry {index}")
        return self._entries[index - len(_STATIC) - 1]

    def _keep(self, header: Header) -> None:
        self._entries.appendleft(header)
        self._bytes += _size(header)
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > TABLE_BYTES:
            raise HPACKError(f"a table of {limit} bytes, where {TABLE_BYTES} are allowed")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._bytes > self._limit:
            self._bytes -= _size(self._entries.pop())


def encode(headers: Iterable[Header]) -> bytes:
    """A header block that does not change the receiver's dynamic table."""
    return b"".join(
        b"\x00" + _encoded_length(name) + name + _encoded_length(value) + value for name, value in headers
    )


def _size(header: Header) -> int:
    return len(header[0]) + len(header[1]) + ENTRY_BYTES


def _encoded_length(text: bytes) -> bytes:
    value = len(text)
    if value < 0x7F:
        return bytes((value,))
    data = bytearray((0x7F,))
    value -= 0x7F
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


# Below, an IndexError means that the block is cut off.


def _number(block: bytes, at: int, most: int) -> tuple[int, int]:
    """The number in the low bits of a byte, of which *most* is the mask, and in the bytes after it;
    and where it ends. RFC 7541, 5.1.
    """
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in (0, 7, 14, 21):
        more = block[at]
        at += 1
        value += (more & 0x7F) << shift
        if not more & 0x80:
            return value, at
    raise HPACKError("a number of more than four bytes")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """A name or a value, and where it ends. RFC 7541, 5.2."""
    is_huffman = block[at] & 0x80
    length, at = _number(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError
    data = block[at:end]
    if not is_huffman:
        return data, end
    return (_known_text if length <= MAX_KNOWN_BYTES else _from_huffman)(data), end


def _from_huffman(data: bytes) -> bytes:
    text = bytearray()
    rest = bits = 0  # what is not decoded yet, and its length
    for byte in data:
        rest = rest << 8 | byte
        bits += 8
        while bits >= 8:
            length, symbol = _SHORT[rest >> bits - 8] or _long_code(rest, bits)
            if not length:
                break
            text.append(symbol)
            bits -= length
            rest &= (1 << bits) - 1
    # The last code may be shorter than a byte. Up to seven 1 bits pad the last byte.
    while bits and rest != (1 << bits) - 1:
        found = _SHORT[rest << 8 - bits] if bits < 8 else None
        if found is None or found[0] > bits:
            raise HPACKError("a Huffman code is cut off")
        text.append(found[1])
        bits -= found[0]
        rest &= (1 << bits) - 1
    if bits > 7:
        raise HPACKError("more than a byte of padding")
    return bytes(text)


_known_text = lru_cache(MAX_KNOWN_TEXTS)(_from_huffman)


def _long_code(rest: int, bits: int) -> _Code:
    """The length and the symbol of the code, longer than a byte, at the start of *rest*; 0 and 0 if
    more bits are needed.
    """
    for length in range(_SHORTEST_LONG_BITS, min(bits, _LONGEST_BITS) + 1):
        symbol = _HUFFMAN.get((length, rest >> bits - length))
        if symbol is not None:
            if symbol == _END_OF_TEXT:
                raise HPACKError("a Huffman code for the end of a text, in it")
            return length, symbol
    if bits > _LONGEST_BITS:
        raise HPACKError("a Huffman code that does not exist")
    return 0, 0
