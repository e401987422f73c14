"""Requests that no node sends: random bytes, truncated messages, and messages full of extreme
values.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_EXTREMES = {
    FieldDescriptor.TYPE_INT32: (-(2**31), -1, 0, 1, 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), -1, 0, 1, 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), -62_135_596_801, -1, 0, 1, 253_402_300_800, 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 1, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 1, 2**63, 2**64 - 1),
    FieldDescriptor.TYPE_BOOL: (False, True),
    FieldDescriptor.TYPE_ENUM: (-1, 0, 1, 2, 3, 4, 2**31 - 1),
    FieldDescriptor.TYPE_STRING: ("", "a", "ü☃\0", "127.0.0.1:1", "%s%n{}", "x" * 10_000),
}
# Around meaningful lengths: of an ID, a node ID, a public key, a block header.
_LENGTHS = (0, 1, 19, 20, 20, 20, 21, 31, 32, 32, 32, 33, 40, 48, 72, 1_000, 100_000)


def requests(kind: type[Message], dice: random.Random, count: int) -> Iterator[bytes]:
    """Yield *count* requests for a method that takes *kind*."""
    for _ in range(count):
        whole = extreme(kind, dice).SerializeToString()
        yield dice.choice(
            (
                whole,
                whole,
                whole[: dice.randrange(len(whole) + 1)],
                whole + dice.randbytes(dice.randrange(1, 4)),
                dice.randbytes(dice.randrange(200)),
            )
        )


def extreme(kind: type[Message], dice: random.Random) -> Message:
    """Return a message in which each field is absent or has an extreme value."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if dice.random() < 0.8:
            _fill(message, field, dice)
    return message


def _fill(message: Any, field: Any, dice: random.Random) -> None:
    if hasattr(getattr(message, field.name), "extend"):
        getattr(message, field.name).extend(_value(field, dice) for _ in range(dice.choice((0, 1, 7))))
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(_value(field, dice))
    else:
        setattr(message, field.name, _value(field, dice))


def _value(field: Any, dice: random.Random) -> Any:
    if field.message_type is not None:
        return extreme(GetMessageClass(field.message_type), dice)
    if field.type == FieldDescriptor.TYPE_BYTES:
        length = dice.choice(_LENGTHS)
        return dice.choice((bytes(length), b"\xff" * length, dice.randbytes(length)))
    return dice.choice(_EXTREMES[field.type])
