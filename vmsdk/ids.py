"""Identifiers: 32-byte IDs (chains, subnets, blocks, VMs) and 20-byte node IDs."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, ClassVar

from vmsdk import cb58
from vmsdk.errors import InvalidInput

if TYPE_CHECKING:
    from typing_extensions import Self


_MAX_QUOTED = 80
"""The most characters of an invalid text that an error quotes."""


class _FixedBytes(bytes):
    """Bytes of exactly one length. Equal to, and hashed like, the plain bytes they hold."""

    LENGTH: ClassVar[int]
    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        given: object = value
        if not isinstance(given, (bytes, bytearray, memoryview)):
            cure = f": use {cls.__name__}.from_string" if isinstance(given, str) else ""
            raise TypeError(f"{cls.__name__}({given!r:.{_MAX_QUOTED}}) takes {cls.LENGTH} bytes{cure}")
        if len(value) != cls.LENGTH:
            raise InvalidInput(f"invalid hash length: expected {cls.LENGTH} bytes but got {len(value)}")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.from_string({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class ID(_FixedBytes):
    """Exactly 32 bytes. `str()` returns the CB58 text that nodes, explorers and logs print.

    Raises `InvalidInput` for any other length.
    """

    LENGTH = 32
    EMPTY: ClassVar[ID]
    __slots__ = ()

    @classmethod
    def from_string(cls, text: str) -> Self:
        """The ID whose CB58 text is *text*. Raises `InvalidInput`."""
        return cls(cb58.decode(text))

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The usual ID for *data*: its SHA-256."""
        return bytes.__new__(cls, hashlib.sha256(data).digest())  # whose length is right

    def __str__(self) -> str:
        return cb58.encode(self)

    def prefix(self, *prefixes: int) -> ID:
        """SHA-256 of the prefixes (8 bytes each, big-endian) followed by this ID."""
        return ID.of(struct.pack(f">{len(prefixes)}Q", *prefixes) + self)

    def append(self, *suffixes: int) -> ID:
        """SHA-256 of this ID followed by the suffixes (4 bytes each, big-endian)."""
        return ID.of(self + struct.pack(f">{len(suffixes)}I", *suffixes))

    def bit(self, index: int) -> int:
        """Bit *index* (0 to 255): within each byte the least significant bit comes first."""
        return (self[index // 8] >> (index % 8)) & 1


ID.EMPTY = ID(bytes(ID.LENGTH))


class NodeID(_FixedBytes):
    """Exactly 20 bytes. `str()` returns `NodeID-` followed by CB58.

    Raises `InvalidInput` for any other length.
    """

    LENGTH = 20
    PREFIX = "NodeID-"
    EMPTY: ClassVar[NodeID]
    __slots__ = ()

    @classmethod
    def from_string(cls, text: str) -> Self:
        """The node ID whose text is *text*. Raises `InvalidInput`."""
        if not text.startswith(cls.PREFIX):
            raise InvalidInput(f"a node ID starts with {cls.PREFIX!r}", repr(text[:_MAX_QUOTED]))
        return cls(cb58.decode(text[len(cls.PREFIX) :]))

    def __str__(self) -> str:
        return self.PREFIX + cb58.encode(self)


NodeID.EMPTY = NodeID(bytes(NodeID.LENGTH))


def vm_id(name: str) -> ID:
    """The ID of the VM called *name*: its ASCII bytes, at most 32, padded right with zeros.

    Its text is the name of the VM's file in a node's plugin directory. Raises `InvalidInput` for a
    name that is empty, longer than 32 characters or not ASCII.
    """
    if not name or not name.isascii() or len(name) > ID.LENGTH or "\0" in name:
        raise InvalidInput(
            f"{name[:_MAX_QUOTED]!r} cannot name a VM: a name is 1 to 32 ASCII characters; "
            f"this one has {len(name)}"
        )
    return ID(name.encode("ascii").ljust(ID.LENGTH, b"\0"))
