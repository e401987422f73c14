"""What an author's methods return, checked before it is used: a clear word beats an AttributeError."""

from __future__ import annotations

from vmsdk.block import Block
from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.statesync import StateSummary


class Unusable(VMError):
    """An author's method returned, or an attribute of its block holds, what the node can't be told."""

    def __init__(self, what: str, value: object, rule: str) -> None:
        self.what = what
        self.value = value
        self.rule = rule
        super().__init__(f"{what} {_shown(value)}: it must {rule}")


def block(method: str, value: object, otherwise: str) -> Block:
    """*value*, returned by *method*, which raises *otherwise* when it has no block. Raises `Unusable`."""
    if not isinstance(value, Block):
        raise Unusable(f"{method} returned", value, f"return a vmsdk.Block, or raise {otherwise}")
    return value


def summary(method: str, value: object, otherwise: str) -> StateSummary:
    """*value*, returned by *method*, which raises *otherwise* when it has no summary. Raises `Unusable`."""
    if not isinstance(value, StateSummary):
        raise Unusable(f"{method} returned", value, f"return a vmsdk.StateSummary, or raise {otherwise}")
    return value


def block_id(method: str, value: object, otherwise: str = "") -> ID:
    """*value*, returned by *method*, as an ID. Raises `Unusable`."""
    if isinstance(value, bytes) and len(value) == ID.LENGTH:
        return ID(value)
    rule = "return an ID of 32 bytes" + (f", or raise {otherwise}" if otherwise else "")
    raise Unusable(f"{method} returned", value, rule)


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return str(value) if isinstance(value, ID) else f"{len(value)} bytes"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an author's __repr__ may do anything
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else text[:97] + "..."
