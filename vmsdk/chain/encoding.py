"""Encodes dataclasses by their annotations, in the format of `vmsdk.codec`.

    @dataclass(frozen=True)
    class Account:
        balance: U64
        name: Annotated[str, Max(64)]

    data = encoding_of(Account).encode(Account(5, "Ann"))

| annotation | bytes |
|---|---|
| `U8` to `U256`, `I8` to `I64` | the integer, big-endian |
| `bool` | 1 or 0 |
| a subclass of `enum.Enum` | its value, an integer from 0 to 255, in one byte |
| `Bytes20`, `Bytes32`, `Annotated[bytes, Fixed(n)]`, `ID`, `NodeID` | the bytes |
| `Annotated[bytes, Max(n)]` | a u32 length, the bytes |
| `Annotated[str, Max(n)]` | a u16 length, at most n bytes of UTF-8 |
| `Annotated[tuple[X, ...], Max(n)]`, also `list[X]` | a u32 count, the elements |
| `tuple[X, Y]`, a dataclass | the items, or the fields in the order of `__init__` |
| `X \\| None` | 0, or 1 and the value |
| `A \\| B`, dataclasses with different `tag: ClassVar[int]` | a u32, the tag, then the value |

Each value has exactly one encoding; decoding refuses all others. Other annotations raise
`TypeError`.
"""

from __future__ import annotations

import dataclasses
import enum
import operator
import reprlib
import struct
import types
from collections.abc import Callable, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from vmsdk.codec import MAX_STRING_BYTES
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID, NodeID

_T = TypeVar("_T")


class Fixed(NamedTuple):
    """In `Annotated[bytes, Fixed(20)]`: exactly this many bytes."""

    length: int


class Max(NamedTuple):
    """In `Annotated[str, Max(64)]`: at most this many bytes, or elements of a list."""

    length: int


class Integer(NamedTuple):
    """In `Annotated[int, Integer(64)]`: the width in bits, a multiple of 8."""

    bits: int
    signed: bool = False


U8 = Annotated[int, Integer(8)]
U16 = Annotated[int, Integer(16)]
U32 = Annotated[int, Integer(32)]
U64 = Annotated[int, Integer(64)]
U128 = Annotated[int, Integer(128)]
U256 = Annotated[int, Integer(256)]
I8 = Annotated[int, Integer(8, signed=True)]
I16 = Annotated[int, Integer(16, signed=True)]
I32 = Annotated[int, Integer(32, signed=True)]
I64 = Annotated[int, Integer(64, signed=True)]
Bytes20 = Annotated[bytes, Fixed(20)]
Bytes32 = Annotated[bytes, Fixed(32)]

_COUNT = struct.Struct(">I")
_STRING_LENGTH = struct.Struct(">H")
_COUNT_MAX = 2**32 - 1
_REFUSALS = (struct.error, TypeError, ValueError, OverflowError, AttributeError)
_INTEGERS = {8: "B", 16: "H", 32: "I", 64: "Q"}

_FIXES = {
    float: "floats differ between machines: count an integer number of the smallest unit, such as U64",
    int: "give its width: U8, U16, U32, U64, U128, U256, I8, I16, I32 or I64",
    bytes: "give its length, Annotated[bytes, Fixed(20)], or a bound, Annotated[bytes, Max(140)]",
    str: "give a bound in bytes of UTF-8: Annotated[str, Max(64)]",
    list: "give its element and a bound: Annotated[list[U64], Max(100)]",
    tuple: "give its element and a bound: Annotated[tuple[U64, ...], Max(100)]",
    dict: "use a sorted tuple of pairs, Annotated[tuple[tuple[K, V], ...], Max(100)], or a Table",
    set: "a set has no order: use a sorted tuple, Annotated[tuple[U64, ...], Max(100)]",
    frozenset: "a set has no order: use a sorted tuple, Annotated[tuple[U64, ...], Max(100)]",
}
_IMMUTABLE = (int, bool, str, types.NoneType)
_OTHERWISE = (
    "use sized integers (U64), bool, an enum, bytes, str, tuple or list with a bound, ID, NodeID, "
    "dataclasses of these, X | None or A | B"
)


class Encoding(Generic[_T]):
    """Encodes the values of one type. Created by `encoding_of`."""

    __slots__ = ("decode", "encode", "read")

    def __init__(
        self,
        encode: Callable[[_T], bytes],
        read: Callable[[bytes, int], tuple[_T, int]],
        decode: Callable[[bytes], _T] | None = None,
    ) -> None:
        self.encode = encode
        """Encode a value. Raises `InvalidEncoding` if it isn't of the annotated type."""
        self.read = read
        """Decode the value at an offset. Returns the value and the offset of its end."""
        self.decode = decode or self._decode
        """Decode a value. Raises `InvalidEncoding` unless the data is exactly its encoding."""

    def _decode(self, data: bytes) -> _T:
        value, end = self.read(data, 0)
        if end != len(data):
            raise InvalidEncoding(f"{len(data)} bytes, but the value ends at byte {end}")
        return value


class Item(Encoding[_T]):
    """Encodes values of fixed size, each as one item of a `struct`.

    *pack* converts a value to the struct's item and refuses invalid values, *unpack* is the
    inverse. None means that the value is the item.
    """

    __slots__ = ("code", "pack", "size", "takes_bytes", "unpack")

    def __init__(
        self,
        code: str,
        what: str,
        pack: Callable[[Any], Any] | None = None,
        unpack: Callable[[Any], _T] | None = None,
    ) -> None:
        self.code = code
        self.pack = pack
        self.unpack = unpack
        self.takes_bytes = False
        """Whether the encoding of bytes is these bytes."""
        layout = struct.Struct(">" + code)
        self.size = layout.size

        def encode(value: _T) -> bytes:
            try:
                return layout.pack(value if pack is None else pack(value))
            except _REFUSALS:
                raise InvalidEncoding(f"{_shown(value)} is not {what}") from None

        def read(data: bytes, offset: int) -> tuple[_T, int]:
            end = offset + layout.size
            if end > len(data):
                raise _too_short(data, offset, layout.size)
            (item,) = layout.unpack_from(data, offset)
            return (item if unpack is None else unpack(item)), end

        super().__init__(encode, read)


def encoding_of(annotation: Any) -> Encoding[Any]:
    """Return the encoding of the values of *annotation*, such as a dataclass or `U64`.

    Raises `TypeError`, whose message names the annotation and the fix, if they can't be encoded.
    """
    return _compile(annotation, _name(annotation), ())


def record(cls: type[Any], last: Sequence[str] = (), outer: tuple[type[Any], ...] = ()) -> Encoding[Any]:
    """Return the encoding of a dataclass: its fields in the order of the parameters of `__init__`,
    with those named in *last* at the end.

    *outer* are the dataclasses that contain it. Raises `TypeError` like `encoding_of`.
    """
    if cls in outer:
        raise TypeError(f"{cls.__name__} contains itself, so its size has no bound: refer to it by its ID")
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"an annotation of {cls.__name__} can't be resolved ({error}): define the name at the top "
            "level of the module, above the class"
        ) from None
    fields = sorted(dataclasses.fields(cls), key=lambda field: (field.name in last, field.kw_only))
    for field in fields:
        if not field.init:
            raise TypeError(
                f"{cls.__name__}.{field.name} has init=False and can't be decoded: use a property"
            )
    names = [field.name for field in fields]
    get = operator.attrgetter(*names) if len(names) > 1 else lambda value: [getattr(value, n) for n in names]

    def parts_of(value: Any) -> Sequence[Any]:
        if not isinstance(value, cls):
            raise InvalidEncoding(f"{_shown(value)} is not a {cls.__name__}")
        parts: Sequence[Any] = get(value)
        return parts

    positional = sum(not field.kw_only for field in fields)
    keywords = names[positional:]

    def make(*values: Any) -> Any:
        return cls(*values[:positional], **dict(zip(keywords, values[positional:])))  # noqa: B905

    labels = [f"{cls.__name__}.{name}" for name in names]
    return _product(
        [_compile(hints[name], label, (*outer, cls)) for name, label in zip(names, labels, strict=True)],
        labels,
        parts_of,
        make if keywords else cls,
    )


def is_immutable(annotation: Any) -> bool:
    """Whether values of this type are known to be immutable."""
    origin = get_origin(annotation)
    if origin is not None:
        if origin is Literal:
            return True
        arguments = get_args(annotation)
        if origin is Annotated:
            return is_immutable(arguments[0])
        kinds = [each for each in arguments if each is not Ellipsis]
        return origin in (tuple, Union, types.UnionType) and all(map(is_immutable, kinds))
    if dataclasses.is_dataclass(annotation):
        cls: Any = annotation
        try:
            hints = get_type_hints(annotation, include_extras=True)
        except Exception:  # noqa: BLE001 - an author's annotations may raise anything
            return False
        kinds = [hints[each.name] for each in dataclasses.fields(annotation)]
        return bool(cls.__dataclass_params__.frozen) and all(map(is_immutable, kinds))
    is_plain = isinstance(annotation, type) and issubclass(annotation, (bytes, enum.Enum))
    return is_plain or annotation in _IMMUTABLE


def tagged(kinds: Sequence[type[Any]], where: str) -> dict[int, type[Any]]:
    """Return classes by their `tag`. Raises `TypeError` unless each has a different one."""
    tags: dict[int, type[Any]] = {}
    for kind in kinds:
        tag = getattr(kind, "tag", None)
        if type(tag) is not int or not 0 <= tag < 1 << 32:
            raise TypeError(f"{where}: {_name(kind)} in a union needs a number: tag: ClassVar[int] = 1")
        if tag in tags:
            raise TypeError(
                f"{where}: {_name(tags[tag])} and {_name(kind)} both have the tag {tag}: change one"
            )
        tags[tag] = kind
    return tags


def _compile(annotation: Any, where: str, outer: tuple[type[Any], ...]) -> Encoding[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for mark in reversed(arguments[1:]):
            encoding = _marked(arguments[0], mark, where, outer)
            if encoding is not None:
                return encoding
        return _compile(arguments[0], where, outer)
    if annotation is bool:
        return _FLAG
    if origin in (Union, types.UnionType):
        return _union(arguments, where, outer)
    if origin is tuple and arguments and Ellipsis not in arguments:
        return _tuple([_compile(argument, where, outer) for argument in arguments])
    if isinstance(annotation, type) and origin is None:
        if issubclass(annotation, (ID, NodeID)):
            return _fixed(annotation.LENGTH, annotation)
        if issubclass(annotation, enum.Enum):
            return _enumeration(annotation, where)
        if dataclasses.is_dataclass(annotation):
            return record(annotation, outer=outer)
    fix = _FIXES.get(origin or annotation, _OTHERWISE)
    raise TypeError(f"{where}: {_name(annotation)} can't be encoded: {fix}")


def _marked(base: Any, mark: object, where: str, outer: tuple[type[Any], ...]) -> Encoding[Any] | None:
    """Return the encoding of `Annotated[base, mark]`; None if *mark* doesn't specify the size."""
    origin, arguments = get_origin(base), get_args(base)
    if isinstance(mark, (Fixed, Max)) and not (isinstance(mark.length, int) and mark.length > 0):
        raise TypeError(f"{where}: the length of {mark} must be a whole number from 1 on")
    if isinstance(mark, Integer) and base is int:
        return _integer(mark, where)
    if isinstance(mark, Fixed) and base is bytes:
        return _fixed(mark.length, bytes)
    if isinstance(mark, Max):
        if base is bytes:
            return _prefixed(bytes, _COUNT, mark.length, bytes, bytes)
        if base is str:
            if mark.length > MAX_STRING_BYTES:
                raise TypeError(f"{where}: a str has at most {MAX_STRING_BYTES} bytes of UTF-8: use bytes")
            return _prefixed(str, _STRING_LENGTH, mark.length, str.encode, bytes.decode)
        if origin is list or (origin is tuple and arguments[1:] == (Ellipsis,)):
            return _elements(origin, _compile(arguments[0], where, outer), mark.length, where)
    return None


# Fixed sizes --------------------------------------------------------------------------------------


def _integer(mark: Integer, where: str) -> Item[int]:
    if mark.bits <= 0 or mark.bits % 8:
        raise TypeError(f"{where}: an integer of {mark.bits} bits: a multiple of 8 is needed")
    what = f"an integer of {mark.bits} bits, {'signed' if mark.signed else 'unsigned'}"
    code = _INTEGERS.get(mark.bits)
    if code is not None:
        return Item(code.lower() if mark.signed else code, what)
    size, signed = mark.bits // 8, mark.signed
    return Item(
        f"{size}s",
        what,
        lambda value: value.to_bytes(size, "big", signed=signed),
        lambda data: int.from_bytes(data, "big", signed=signed),
    )


def _fixed(length: int, cls: type[Any]) -> Item[Any]:
    def pack(value: bytes) -> bytes:
        # struct would truncate or pad them.
        if len(value) != length:
            raise ValueError
        return value

    item = Item(f"{length}s", f"{length} bytes", pack, None if cls is bytes else cls)
    copy = item.encode

    def encode(value: bytes) -> bytes:
        return value if type(value) is bytes and len(value) == length else copy(value)

    item.encode = encode
    item.takes_bytes = True
    return item


def _pack_bool(value: bool) -> bool:
    if value is not True and value is not False:
        raise ValueError
    return value


def _unpack_bool(value: int) -> bool:
    if value > 1:
        raise InvalidEncoding(f"a bool is encoded as 0 or 1, not {value}")
    return value == 1


def _enumeration(cls: type[enum.Enum], where: str) -> Item[Any]:
    members = {member.value: member for member in cls}
    if not all(type(value) is int and 0 <= value <= 255 for value in members):
        raise TypeError(f"{where}: the values of {cls.__name__} must be integers from 0 to 255")

    def pack(member: Any) -> int:
        if not isinstance(member, cls):
            raise ValueError
        value: int = member.value
        return value

    def unpack(value: int) -> enum.Enum:
        member = members.get(value)
        if member is None:
            raise InvalidEncoding(f"{value} is not a value of {cls.__name__}")
        return member

    return Item("B", f"a {cls.__name__}", pack, unpack)


# Variable sizes -----------------------------------------------------------------------------------


def _prefixed(
    cls: type[Any],
    length: struct.Struct,
    limit: int,
    pack: Callable[[Any], bytes],
    unpack: Callable[[bytes], Any],
) -> Encoding[Any]:
    """Encode bytes or a str, preceded by their length of at most *limit*."""
    what = f"bytes, at most {limit}" if cls is bytes else f"a str of at most {limit} bytes of UTF-8"

    def encode(value: Any) -> bytes:
        try:
            data = pack(value) if isinstance(value, cls) else None
        except UnicodeEncodeError:
            data = None
        if data is None or len(data) > limit:
            raise InvalidEncoding(f"{_shown(value)} is not {what}")
        return length.pack(len(data)) + data

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        size, start = _length(data, offset, length, limit)
        end = start + size
        if end > len(data):
            raise _too_short(data, start, size)
        try:
            return unpack(data[start:end]), end
        except UnicodeDecodeError as error:
            raise InvalidEncoding(f"not UTF-8 ({error.reason})") from None

    return Encoding(encode, read)


def _length(data: bytes, offset: int, length: struct.Struct, limit: int) -> tuple[int, int]:
    start = offset + length.size
    if start > len(data):
        raise _too_short(data, offset, length.size)
    (size,) = length.unpack_from(data, offset)
    if size > limit:
        raise InvalidEncoding(f"a length of {size}; at most {limit} are allowed")
    return size, start


def _elements(cls: type[Any], element: Encoding[Any], limit: int, where: str) -> Encoding[Any]:
    try:
        element.read(b"", 0)
    except InvalidEncoding:
        pass
    else:
        raise TypeError(f"{where}: an element of a {cls.__name__} must take at least one byte")

    def encode(values: Sequence[Any]) -> bytes:
        if not isinstance(values, cls) or len(values) > limit:
            raise InvalidEncoding(f"{_shown(values)} is not a {cls.__name__} of at most {limit} elements")
        return b"".join([_COUNT.pack(len(values)), *map(element.encode, values)])

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        count, offset = _length(data, offset, _COUNT, limit)
        values = []
        for _ in range(count):
            value, offset = element.read(data, offset)
            values.append(value)
        return cls(values), offset

    return Encoding(encode, read)


def _union(kinds: tuple[Any, ...], where: str, outer: tuple[type[Any], ...]) -> Encoding[Any]:
    some = tuple(kind for kind in kinds if kind is not types.NoneType)
    inner = _compile(some[0], where, outer) if len(some) == 1 else _tagged_union(some, where, outer)
    if len(some) == len(kinds):
        return inner

    def encode(value: Any) -> bytes:
        return b"\0" if value is None else b"\1" + inner.encode(value)

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        is_present, offset = _FLAG.read(data, offset)
        return inner.read(data, offset) if is_present else (None, offset)

    return Encoding(encode, read)


def _tagged_union(kinds: tuple[Any, ...], where: str, outer: tuple[type[Any], ...]) -> Encoding[Any]:
    encodings = {tag: _compile(kind, where, outer) for tag, kind in tagged(kinds, where).items()}

    def encode(value: Any) -> bytes:
        if type(value) not in kinds:
            raise InvalidEncoding(f"{_shown(value)} is not {' or '.join(map(_name, kinds))}")
        return _COUNT.pack(value.tag) + encodings[value.tag].encode(value)

    def read(data: bytes, offset: int) -> tuple[Any, int]:
        tag, offset = _length(data, offset, _COUNT, _COUNT_MAX)
        if tag not in encodings:
            raise InvalidEncoding(f"unknown tag {tag}")
        return encodings[tag].read(data, offset)

    return Encoding(encode, read)


# Several values -----------------------------------------------------------------------------------


def _tuple(parts: Sequence[Encoding[Any]]) -> Encoding[tuple[Any, ...]]:
    def parts_of(value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not isinstance(value, tuple) or len(value) != len(parts):
            raise InvalidEncoding(f"{_shown(value)} is not a tuple of {len(parts)} items")
        return value

    return _product(parts, [f"item {i}" for i in range(len(parts))], parts_of, lambda *values: values)


def _product(
    parts: Sequence[Encoding[Any]],
    labels: Sequence[str],
    parts_of: Callable[[Any], Sequence[Any]],
    make: Callable[..., _T],
) -> Encoding[_T]:
    """Encode several values, one after the other; *labels* name them in errors.

    Adjacent values of fixed size share a `struct`, which is several times as fast.
    """
    steps: list[_Run | _Single] = []
    for index, part in enumerate(parts):
        if not isinstance(part, Item):
            steps.append(_Single(index, part, labels[index]))
        elif steps and isinstance(steps[-1], _Run):
            steps[-1] = _Run(steps[-1].start, [*steps[-1].items, part], labels)
        else:
            steps.append(_Run(index, [part], labels))
    if len(steps) == 1 and isinstance(steps[0], _Run):
        return steps[0].alone(parts_of, make)
    encode_steps, read_steps = [step.encode for step in steps], [step.read for step in steps]

    def encode(value: _T) -> bytes:
        values = parts_of(value)
        return b"".join([encode_step(values) for encode_step in encode_steps])

    def read(data: bytes, offset: int) -> tuple[_T, int]:
        values: list[Any] = []
        for read_step in read_steps:
            offset = read_step(data, offset, values)
        return make(*values), offset

    return Encoding(encode, read)


class _Single:
    """A part of variable size."""

    def __init__(self, index: int, part: Encoding[Any], label: str) -> None:
        self._index = index
        self._part = part
        self._label = label

    def encode(self, values: Sequence[Any]) -> bytes:
        try:
            return self._part.encode(values[self._index])
        except InvalidEncoding as error:
            raise _labelled(error, self._label) from None

    def read(self, data: bytes, offset: int, values: list[Any]) -> int:
        try:
            value, offset = self._part.read(data, offset)
        except InvalidEncoding as error:
            raise _labelled(error, self._label) from None
        values.append(value)
        return offset


class _Run:
    """Adjacent parts of fixed size."""

    def __init__(self, start: int, items: list[Item[Any]], labels: Sequence[str]) -> None:
        self.start = start
        self.items = items
        self._labels = labels[start : start + len(items)]
        self._stop = start + len(items)
        self._struct = struct.Struct(">" + "".join(item.code for item in items))
        self.size = self._struct.size
        self._packs = [(i, item.pack) for i, item in enumerate(items) if item.pack]
        self._unpacks = [(i, item.unpack) for i, item in enumerate(items) if item.unpack]

    def alone(self, parts_of: Callable[[Any], Sequence[Any]], make: Callable[..., _T]) -> Encoding[_T]:
        """Return the encoding of a product without other parts."""
        pack, unpack, size = self._struct.pack, self._struct.unpack, self.size
        has_packs = bool(self._packs)

        # A single call of the struct is enough, unless an item has a function of its own.
        def encode(value: Any) -> bytes:
            values = parts_of(value)
            if has_packs:
                return self.encode(values)
            try:
                return pack(*values)
            except _REFUSALS:
                return self.encode(values)

        def read(data: bytes, offset: int) -> tuple[_T, int]:
            return make(*self.values(data, offset)), offset + size

        def decode(data: bytes) -> _T:
            return make(*unpack(data)) if len(data) == size else encoding._decode(data)

        encoding = Encoding(encode, read, None if self._unpacks else decode)
        return encoding

    def encode(self, values: Sequence[Any]) -> bytes:
        packed = values[self.start : self._stop]
        try:
            if self._packs:
                packed = list(packed)
                for i, pack in self._packs:
                    packed[i] = pack(packed[i])
            return self._struct.pack(*packed)
        except _REFUSALS:
            # One by one, so that the invalid value raises an error that names it.
            return b"".join(
                _Single(0, item, label).encode([value])
                for item, label, value in zip(
                    self.items, self._labels, values[self.start : self._stop], strict=True
                )
            )

    def read(self, data: bytes, offset: int, values: list[Any]) -> int:
        values += self.values(data, offset)
        return offset + self.size

    def values(self, data: bytes, offset: int) -> Sequence[Any]:
        try:
            packed = self._struct.unpack_from(data, offset)
        except struct.error:
            raise _too_short(data, offset, self.size, " and ".join(self._labels)) from None
        if not self._unpacks:
            return packed
        values = list(packed)
        for i, unpack in self._unpacks:
            try:
                values[i] = unpack(values[i])
            except InvalidEncoding as error:
                raise _labelled(error, self._labels[i]) from None
        return values


def _labelled(error: InvalidEncoding, label: str) -> InvalidEncoding:
    return InvalidEncoding(f"{label}: {error.rule}", error.detail)


def _too_short(data: bytes, offset: int, needed: int, what: str = "a value") -> InvalidEncoding:
    return InvalidEncoding(
        f"the bytes end too early: {needed} are needed at byte {offset} for {what}, but only "
        f"{len(data) - offset} follow"
    )


def _shown(value: object) -> str:
    return reprlib.repr(value)


def _name(annotation: Any) -> str:
    return (
        annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    )


_FLAG = Item("B", "True or False", _pack_bool, _unpack_bool)
