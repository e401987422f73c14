"""Encoding by annotations."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pytest

from vmsdk.chain.encoding import (
    I8,
    I64,
    U8,
    U16,
    U32,
    U64,
    U128,
    U256,
    Bytes20,
    Bytes32,
    Fixed,
    Integer,
    Max,
    encoding_of,
    is_immutable,
)
from vmsdk.codec import Reader, Writer
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID, NodeID


class Colour(enum.Enum):
    RED = 0
    BLUE = 7


class Level(enum.IntEnum):
    HUGE = 256


@dataclass(frozen=True)
class Point:
    x: I64
    y: I8


@dataclass(frozen=True)
class Circle:
    tag: ClassVar[int] = 1
    centre: Point
    radius: U16


@dataclass(frozen=True)
class Nothing:
    tag: ClassVar[int] = 5


@dataclass(frozen=True)
class Everything:
    number: U32
    big: U256
    flag: bool
    colour: Colour
    address: Bytes20
    note: Annotated[str, Max(10)]
    chain: ID
    node: NodeID
    memo: Annotated[bytes, Max(5)]
    points: Annotated[tuple[Point, ...], Max(3)]
    pair: tuple[U8, Annotated[str, Max(3)]]
    names: Annotated[list[Annotated[str, Max(3)]], Max(2)]
    shape: Circle | Nothing
    parent: ID | None = None
    other: Circle | Nothing | None = None
    last: U128 = field(default=1, kw_only=True)


VALUE = Everything(
    number=3,
    big=2**255,
    flag=True,
    colour=Colour.BLUE,
    address=bytes(range(20)),
    note="hé",
    chain=ID(bytes(range(32))),
    node=NodeID(bytes(20)),
    memo=b"\xaa\xbb",
    points=(Point(-1, 1), Point(2, -2)),
    pair=(9, "x"),
    names=["a", "bc"],
    shape=Circle(Point(0, 0), 8),
    parent=ID(bytes(32)),
    other=Nothing(),
)


def written(value: Everything) -> bytes:
    """*value* as an author writes it by hand with `Writer`."""
    writer = Writer().u32(value.number).fixed(value.big.to_bytes(32, "big")).boolean(value.flag)
    writer.u8(value.colour.value).fixed(value.address).string(value.note).fixed(value.chain)
    writer.fixed(value.node).blob(value.memo)
    writer.sequence(value.points, lambda writer, point: writer.i64(point.x).i8(point.y))
    writer.u8(value.pair[0]).string(value.pair[1]).sequence(value.names, Writer.string)
    assert isinstance(value.shape, Circle)
    writer.type_id(1).i64(value.shape.centre.x).i8(value.shape.centre.y).u16(value.shape.radius)
    assert value.parent is not None
    writer.boolean(True).fixed(value.parent).boolean(True).type_id(5)
    return writer.fixed(value.last.to_bytes(16, "big")).getvalue()


def test_it_is_the_nodes_codec() -> None:
    data = encoding_of(Everything).encode(VALUE)
    assert data == written(VALUE)
    decoded = encoding_of(Everything).decode(data)
    assert decoded == VALUE
    assert (type(decoded.chain), type(decoded.node), type(decoded.names)) == (ID, NodeID, list)


def test_none_and_a_single_value_need_no_dataclass() -> None:
    assert encoding_of(U64).encode(5) == bytes(7) + b"\x05"
    assert encoding_of(U64 | None).encode(None) == b"\0"
    assert encoding_of(tuple[U8, bool]).decode(b"\x07\x01") == (7, True)


@pytest.mark.parametrize("size", range(len(written(VALUE))))
def test_every_prefix_is_refused(size: int) -> None:
    with pytest.raises(InvalidEncoding, match="end too early"):
        encoding_of(Everything).decode(written(VALUE)[:size])


def test_a_byte_more_is_refused() -> None:
    with pytest.raises(InvalidEncoding, match="2 bytes, but the value ends at byte 1"):
        encoding_of(U8).decode(b"\1\2")


@pytest.mark.parametrize(
    ("annotation", "data", "text"),
    [
        (bool, "02", "a bool is encoded as 0 or 1, not 2"),
        (U8 | None, "0201", "a bool is encoded as 0 or 1, not 2"),
        (Colour, "01", "1 is not a value of Colour"),
        (Annotated[bytes, Max(1)], "000000020000", "a length of 2; at most 1"),
        (Annotated[str, Max(1)], "00026161", "a length of 2; at most 1"),
        (Annotated[str, Max(9)], "0001ff", "not UTF-8"),
        (Annotated[str, Max(9)], "0003eda080", "not UTF-8"),
        (Annotated[list[U8], Max(1)], "ffffffff", "a length of 4294967295; at most 1"),
        (Circle | Nothing, "00000002", "unknown tag 2"),
        (tuple[U8, Colour], "0101", "item 1: 1 is not a value of Colour"),
    ],
)
def test_bytes_that_no_value_has_are_refused(annotation: Any, data: str, text: str) -> None:
    with pytest.raises(InvalidEncoding, match=text):
        encoding_of(annotation).decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (U8, 256, "256 is not an integer of 8 bits, unsigned"),
        (U8, -1, "-1 is not an integer of 8 bits, unsigned"),
        (U64, 1.0, "1.0 is not an integer of 64 bits"),
        (U256, 2**256, "is not an integer of 256 bits, unsigned"),
        (U256, 1.0, "1.0 is not an integer of 256 bits, unsigned"),
        (I8, 128, "128 is not an integer of 8 bits, signed"),
        (bool, 1, "1 is not True or False"),
        (Colour, 7, "7 is not a Colour"),
        (Bytes20, bytes(19), "is not 20 bytes"),
        (Bytes20, bytes(21), "is not 20 bytes"),
        (Bytes20, "x" * 20, "is not 20 bytes"),
        (ID, bytes(31), "is not 32 bytes"),
        (Annotated[bytes, Max(1)], b"ab", "b'ab' is not bytes, at most 1"),
        (Annotated[bytes, Max(1)], "a", "'a' is not bytes"),
        (Annotated[str, Max(1)], "é", "'é' is not a str of at most 1 bytes of UTF-8"),
        (Annotated[str, Max(1)], "\ud800", "is not a str"),
        (Annotated[tuple[U8, ...], Max(1)], (1, 2), "is not a tuple of at most 1 elements"),
        (Annotated[tuple[U8, ...], Max(1)], [1], "is not a tuple"),
        (tuple[U8, U8], (1,), "is not a tuple of 2 items"),
        (Point, Nothing(), r"Nothing\(\) is not a Point"),
        (Point, Point("1", 1), "Point.x: '1' is not an integer of 64 bits, signed"),  # type: ignore[arg-type]
        (Circle, Circle(Point(1, 200), 1), "Circle.centre: Point.y: 200 is not an integer of 8 bits"),
        (Circle | Nothing, Point(1, 1), "is not Circle or Nothing"),
    ],
)
def test_values_outside_their_annotation_are_refused(annotation: Any, value: Any, text: str) -> None:
    with pytest.raises(InvalidEncoding, match=text):
        encoding_of(annotation).encode(value)


@dataclass
class Recursive:
    inner: Recursive | None


@dataclass
class Computed:
    total: U64 = field(init=False)


@dataclass
class Inner:
    ratio: float


@dataclass
class Outer:
    inner: Annotated[tuple[Inner, ...], Max(2)]


@dataclass
class Untagged:
    x: U8


@dataclass
class AlsoOne:
    tag: ClassVar[int] = 1


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Outer, "Inner.ratio: float can't be encoded: floats differ"),
        (int, "int can't be encoded: give its width: U8"),
        (bytes, "bytes can't be encoded: give its length"),
        (str, "str can't be encoded: give a bound"),
        (list[U8], "can't be encoded: give its element and a bound"),
        (tuple[U8, ...], "can't be encoded: give its element and a bound"),
        (Annotated[list, Max(2)], "list can't be encoded: give its element and a bound"),
        (dict[str, int], "use a sorted tuple of pairs"),
        (set[int], "a set has no order"),
        (object, "object can't be encoded: use sized integers"),
        (Annotated[bytes, "a note"], "bytes can't be encoded"),
        (Annotated[bytes, Integer(8)], "bytes can't be encoded"),
        (Annotated[int, Integer(12)], "12 bits: a multiple of 8"),
        (Annotated[str, Max(70_000)], "a str has at most 65535 bytes"),
        (Annotated[list[Nothing], Max(2)], "an element of a list must take at least one byte"),
        (Level, "the values of Level must be integers from 0 to 255"),
        (Recursive, "Recursive contains itself"),
        (Computed, "Computed.total has init=False"),
        (Circle | Untagged, "Untagged in a union needs a number"),
        (Circle | AlsoOne, "Circle and AlsoOne both have the tag 1"),
        (Circle | U8, "in a union needs a number"),
    ],
)
def test_annotations_that_cant_be_encoded_are_refused_with_the_cure(annotation: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        encoding_of(annotation)


def test_a_union_does_not_depend_on_the_order_in_which_it_is_written() -> None:
    # Python considers both equal, and its caches of types mix them up.
    assert encoding_of(Circle | Nothing).encode(Nothing()) == encoding_of(Nothing | Circle).encode(Nothing())


@dataclass
class Base:
    x: U8 = field(kw_only=True)


@dataclass
class Child(Base):
    y: U8


def test_fields_are_in_the_order_of_the_parameters_of_init() -> None:
    assert encoding_of(Child).encode(Child(1, x=2)) == b"\1\2"
    assert encoding_of(Child).decode(b"\1\2") == Child(1, x=2)


def test_bytes_are_read_in_place() -> None:
    assert encoding_of(Bytes32).read(bytes(3) + b"\1" * 32 + b"\2", 3) == (b"\1" * 32, 35)
    assert Reader(encoding_of(Annotated[bytes, Fixed(3)]).encode(b"abc")).fixed(3) == b"abc"


@dataclass(frozen=True)
class Sums:
    sums: dict[bytes, U8]


@pytest.mark.parametrize(
    "kind", [list[bytes], dict[bytes, int], set[int], Sequence[int], Any, tuple[list[int], ...], Sums, Base]
)
def test_what_may_change_is_not_taken_for_immutable(kind: Any) -> None:
    assert not is_immutable(kind)


@pytest.mark.parametrize("kind", [bytes, U8, ID, Bytes32, tuple[U8, ...], U8 | None, Circle | Nothing])
def test_what_never_changes_is_immutable(kind: Any) -> None:
    assert is_immutable(kind)
