"""The nodes' linear codec, which encodes blocks, transactions and warp messages.

Integers are big-endian. A list is a u32 count and the elements; bytes are a u32 length and the
bytes; a string is a u16 length and its UTF-8; a map is a u32 count and the pairs in ascending order
of the encoded keys; an interface is a u32 type ID and the value; a structure is its fields in
order. A complete object begins with a u16 codec version, and nothing may follow it. Each value has
exactly one encoding, so equal values have equal hashes.

    data = Writer().version(0).u64(block.height).blob(block.payload).getvalue()

    reader = Reader(data, "block")
    reader.version(0)
    height, payload = reader.u64(), reader.blob()
    reader.end()
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from typing import NoReturn, TypeVar

from typing_extensions import Self

from vmsdk.errors import InvalidEncoding

# Sources of the limits: codec/manager.go, utils/wrappers/packing.go,
# codec/reflectcodec/type_codec.go.
DEFAULT_MAX_SIZE_BYTES = 256 * 1024
MAX_STRING_BYTES = 2**16 - 1
MAX_ELEMENTS = 2**31 - 1

_T = TypeVar("_T")
_K = TypeVar("_K")
_V = TypeVar("_V")


class Writer:
    """Encodes one value after the other. Each method returns the writer.

    Each method raises `InvalidEncoding` if a value doesn't fit the type, or if the encoding exceeds
    *max_size* bytes (None for no limit).
    """

    def __init__(self, *, max_size: int | None = DEFAULT_MAX_SIZE_BYTES) -> None:
        self._data = bytearray()
        self._max_size = max_size

    def getvalue(self) -> bytes:
        """Return the bytes written so far."""
        return bytes(self._data)

    def version(self, version: int) -> Self:
        """Write the codec version of a complete object, a u16."""
        return self.u16(version)

    def type_id(self, type_id: int) -> Self:
        """Write the u32 type ID of an interface; its value must follow."""
        return self.u32(type_id)

    def u8(self, value: int) -> Self:
        return self._integer(value, 1, signed=False)

    def u16(self, value: int) -> Self:
        return self._integer(value, 2, signed=False)

    def u32(self, value: int) -> Self:
        return self._integer(value, 4, signed=False)

    def u64(self, value: int) -> Self:
        return self._integer(value, 8, signed=False)

    def i8(self, value: int) -> Self:
        return self._integer(value, 1, signed=True)

    def i16(self, value: int) -> Self:
        return self._integer(value, 2, signed=True)

    def i32(self, value: int) -> Self:
        return self._integer(value, 4, signed=True)

    def i64(self, value: int) -> Self:
        return self._integer(value, 8, signed=True)

    def boolean(self, value: bool) -> Self:
        """Write one byte, 1 or 0."""
        return self.fixed(b"\1" if value else b"\0")

    def fixed(self, value: bytes) -> Self:
        """Write bytes of a length that the reader knows, such as an ID."""
        size = len(self._data) + _length(value, "bytes")
        if self._max_size is not None and size > self._max_size:
            raise InvalidEncoding(
                "packer has insufficient length for input",
                f"{size} bytes exceed the limit of {self._max_size}",
            )
        try:
            self._data += value
        except TypeError:
            raise _wrong_type(value, "bytes") from None
        return self

    def blob(self, value: bytes) -> Self:
        """Write bytes of any length."""
        return self.count(_length(value, "bytes")).fixed(value)

    def string(self, value: str) -> Self:
        """Write a string of at most 65,535 bytes of UTF-8."""
        try:
            encoded = value.encode()
        except AttributeError:
            raise _wrong_type(value, "a str") from None
        except UnicodeEncodeError as error:
            raise InvalidEncoding(
                "input does not match expected format", f"a string can't be encoded as UTF-8 ({error.reason})"
            ) from None
        if len(encoded) > MAX_STRING_BYTES:
            raise InvalidEncoding(
                "input does not match expected format",
                f"a string of {len(encoded)} bytes exceeds {MAX_STRING_BYTES}",
            )
        return self.u16(len(encoded)).fixed(encoded)

    def count(self, count: int) -> Self:
        """Write the number of elements of a list. The caller writes the elements."""
        if count > MAX_ELEMENTS:
            raise InvalidEncoding("max slice length exceeded", f"{count} elements exceed {MAX_ELEMENTS}")
        return self.u32(count)

    def array(self, values: Collection[_T], write: Callable[[Writer, _T], object]) -> Self:
        """Write a number of elements that the reader knows: `writer.array(pair, Writer.u64)`."""
        for value in values:
            write(self, value)
        return self

    def sequence(self, values: Collection[_T], write: Callable[[Writer, _T], object]) -> Self:
        """Write a list of any length: `writer.sequence(ids, Writer.fixed)`."""
        self.count(_length(values, "a list"))
        for value in values:
            start = len(self._data)
            write(self, value)
            if len(self._data) == start:
                raise InvalidEncoding(
                    "can't marshal zero length value", f"{value!r} is empty when encoded, in a list"
                )
        return self

    def mapping(
        self,
        values: Mapping[_K, _V],
        write_key: Callable[[Writer, _K], object],
        write_value: Callable[[Writer, _V], object],
    ) -> Self:
        """Write a map, sorted: `writer.mapping(balances, Writer.fixed, Writer.u64)`."""
        encoded: dict[bytes, _V] = {}
        for key, value in values.items():
            writer = Writer(max_size=self._max_size)
            write_key(writer, key)
            encoded[writer.getvalue()] = value
        if len(encoded) != len(values):
            raise InvalidEncoding("keys aren't sorted", "two keys of the map have the same encoding")
        self.count(len(encoded))
        for encoded_key in sorted(encoded):
            start = len(self._data)
            write_value(self.fixed(encoded_key), encoded[encoded_key])
            if len(self._data) == start:
                raise InvalidEncoding(
                    "can't marshal zero length value", "an entry of a map is empty when encoded"
                )
        return self

    def _integer(self, value: int, size: int, *, signed: bool) -> Self:
        try:
            return self.fixed(value.to_bytes(size, "big", signed=signed))
        except AttributeError:
            raise _wrong_type(value, "an int") from None
        except OverflowError:
            kind = "signed" if signed else "unsigned"
            raise InvalidEncoding(
                "input does not match expected format", f"{value} does not fit in {8 * size} bits, {kind}"
            ) from None


class Reader:
    """Decodes one value after the other, in the order in which they were written.

    Each method raises `InvalidEncoding` if the bytes end too early or are invalid. *what* names the
    object in error messages. More than *max_size* bytes are refused (None for no limit).
    """

    def __init__(
        self, data: bytes, what: str = "encoding", *, max_size: int | None = DEFAULT_MAX_SIZE_BYTES
    ) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise _wrong_type(data, "bytes")
        if max_size is not None and len(data) > max_size:
            raise InvalidEncoding("byte array exceeds maximum length", f"{len(data)} > {max_size}")
        self._data = bytes(data)
        self._what = what
        self._offset = 0

    @property
    def offset(self) -> int:
        """The number of bytes read so far."""
        return self._offset

    @property
    def remaining(self) -> int:
        """The number of bytes not read yet."""
        return len(self._data) - self._offset

    def end(self) -> None:
        """Check that all bytes have been read."""
        if self.remaining:
            raise InvalidEncoding(
                "trailing buffer space",
                f"read {self._offset} provided {len(self._data)} bytes of the {self._what}",
            )

    def version(self, *known: int) -> int:
        """Read the codec version of a complete object, which must be one of *known*."""
        if self.remaining < 2:
            raise InvalidEncoding("couldn't unpack codec version", self._where())
        version = self.u16()
        if version not in known:
            raise InvalidEncoding("unknown codec version", f"{version} in the {self._what}")
        return version

    def type_id(self, *known: int) -> int:
        """Read the type ID of an interface, which must be one of *known*."""
        type_id = self.u32()
        if type_id not in known:
            self._unknown_type(type_id)
        return type_id

    def interface(self, types: Sequence[Callable[[Reader], _T]]) -> _T:
        """Read the value of an interface. *types* has a function for each type, in the order of
        their IDs.
        """
        type_id = self.u32()
        if type_id >= len(types):
            self._unknown_type(type_id)
        return types[type_id](self)

    def u8(self) -> int:
        return int.from_bytes(self.fixed(1), "big")

    def u16(self) -> int:
        return int.from_bytes(self.fixed(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.fixed(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self.fixed(8), "big")

    def i8(self) -> int:
        return int.from_bytes(self.fixed(1), "big", signed=True)

    def i16(self) -> int:
        return int.from_bytes(self.fixed(2), "big", signed=True)

    def i32(self) -> int:
        return int.from_bytes(self.fixed(4), "big", signed=True)

    def i64(self) -> int:
        return int.from_bytes(self.fixed(8), "big", signed=True)

    def boolean(self) -> bool:
        """Read one byte, which must be 0 or 1."""
        value = self.u8()
        if value > 1:
            raise InvalidEncoding("unexpected value when unpacking bool", f"{value}, {self._where(1)}")
        return value == 1

    def fixed(self, length: int) -> bytes:
        """Read bytes of a known length, such as an ID."""
        if not 0 <= length <= self.remaining:
            raise InvalidEncoding(
                "packer has insufficient length for input",
                f"{length} bytes needed {self._where()}, but only {self.remaining} left",
            )
        self._offset += length
        return self._data[self._offset - length : self._offset]

    def blob(self) -> bytes:
        """Read bytes of any length."""
        return self.fixed(self.count())

    def string(self) -> str:
        """Read a string. A Go node also accepts invalid UTF-8, which `fixed(u16())` reads."""
        encoded = self.fixed(self.u16())
        try:
            return encoded.decode()
        except UnicodeDecodeError as error:
            raise InvalidEncoding(
                "input does not match expected format",
                f"a string is not UTF-8 ({error.reason}), {self._where(len(encoded))}",
            ) from None

    def count(self) -> int:
        """Read the number of elements of a list. The caller reads the elements."""
        count = self.u32()
        if count > MAX_ELEMENTS:
            raise InvalidEncoding(
                "max slice length exceeded",
                f"array length, {count}, exceeds maximum length, {MAX_ELEMENTS}, {self._where(4)}",
            )
        return count

    def array(self, length: int, read: Callable[[Reader], _T]) -> tuple[_T, ...]:
        """Read a known number of elements: `reader.array(2, Reader.u64)`."""
        return tuple(read(self) for _ in range(length))

    def sequence(self, read: Callable[[Reader], _T]) -> tuple[_T, ...]:
        """Read a list of any length: `reader.sequence(Reader.u32)`."""
        values = []
        for _ in range(self.count()):
            start = self._offset
            values.append(read(self))
            if self._offset == start:
                # Otherwise, four bytes could stand for two billion elements.
                raise InvalidEncoding("can't unmarshal zero length value", self._where())
        return tuple(values)

    def mapping(self, read_key: Callable[[Reader], _K], read_value: Callable[[Reader], _V]) -> dict[_K, _V]:
        """Read a map, sorted by encoded keys: `reader.mapping(Reader.string, Reader.u64)`."""
        values: dict[_K, _V] = {}
        previous: bytes | None = None
        for _ in range(self.count()):
            start = self._offset
            key = read_key(self)
            encoded_key = self._data[start : self._offset]
            if previous is not None and encoded_key <= previous:
                raise InvalidEncoding(
                    "keys aren't sorted",
                    f"0x{encoded_key.hex()} follows 0x{previous.hex()}, {self._where(len(encoded_key))}",
                )
            previous = encoded_key
            values[key] = read_value(self)
            if self._offset == start:
                raise InvalidEncoding("can't unmarshal zero length value", self._where())
        return values

    def _unknown_type(self, type_id: int) -> NoReturn:
        raise InvalidEncoding("couldn't unmarshal interface", f"unknown type ID {type_id}, {self._where(4)}")

    def _where(self, back: int = 0) -> str:
        return f"at byte {self._offset - back} of the {self._what}"


def _length(value: Sized, kind: str) -> int:
    try:
        return len(value)
    except TypeError:
        raise _wrong_type(value, kind) from None


def _wrong_type(value: object, kind: str) -> TypeError:
    return TypeError(f"{value!r:.100} is not {kind}")
