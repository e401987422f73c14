"""Blocks as an author writes them."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any

from vmsdk.ids import ID
from vmsdk.timestamp import TimestampLike

_ASYNC = 0x0080 | 0x0200
_STAR_ARGUMENTS = 0x04
"""Flags of `inspect` (CO_COROUTINE, CO_ASYNC_GENERATOR, CO_VARARGS), which is slow to import."""


class Interface(ABC):  # noqa: B024 - abstract methods are what its subclasses declare
    """The base of every class whose methods vmsdk calls for the node.

    Raises `TypeError` for a subclass that writes one of them with `async def` (nothing would await
    it, and a block would pass unverified), as a property, or with other arguments.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = [base for base in cls.__mro__ if base.__module__.startswith("vmsdk.")]
        for name in {name for base in bases for name in vars(base) if name[0] != "_"}:
            method = getattr(cls, name, None)
            code = getattr(getattr(method, "fget", method), "__code__", None)
            if isinstance(code, types.CodeType) and code.co_flags & _ASYNC:
                raise TypeError(
                    f"{cls.__name__}.{name} is async, but vmsdk calls it from a plain thread and never "
                    f"awaits it: write `def {name}` without `async`"
                )
        if not cls.__module__.startswith("vmsdk."):
            for interface in (base for base in bases if Interface in base.__bases__):
                _must_match(cls, interface)


def _must_match(cls: type, interface: type) -> None:
    for name, declared in vars(interface).items():
        written = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
        if written is declared or name[0] == "_":
            continue
        if isinstance(declared, property) and isinstance(written, types.FunctionType):
            raise TypeError(f"{cls.__name__}.{name} is a method: write @property above it")
        if not isinstance(declared, types.FunctionType):
            continue
        if not callable(getattr(cls, name)):
            kind = type(written).__name__
            raise TypeError(f"{cls.__name__}.{name} is a {kind}, but vmsdk calls it: make it a method")
        if isinstance(written, types.FunctionType):
            parameters = declared.__code__.co_varnames[: declared.__code__.co_argcount]
            code, given = written.__code__, len(parameters)
            least = code.co_argcount - len(written.__defaults__ or ())
            if given < least or (given > code.co_argcount and not code.co_flags & _STAR_ARGUMENTS):
                raise TypeError(
                    f"{cls.__name__}.{name} does not take the arguments that it is called with: write "
                    f"`def {name}({', '.join(parameters)})`"
                )


@cache  # asked for each block
def must_derive(cls: type, *interfaces: type) -> None:
    """Raise `TypeError` if *cls* has a method of one of these optional interfaces, but does not
    derive from it: vmsdk would never call it.

    Not for a class that only others derive from, since those may add the interface.
    """
    for interface in interfaces:
        if issubclass(cls, interface):
            continue
        abstract: frozenset[str] = getattr(interface, "__abstractmethods__", frozenset())
        for name in sorted(abstract & vars(cls).keys()):
            if not any(name in vars(base) for base in cls.__mro__[1:]):  # a base may call its own method
                raise TypeError(
                    f"{cls.__name__}.{name} is never called, because {cls.__name__} does not derive from "
                    f"vmsdk.{interface.__name__}: add that to its bases, or rename the method"
                )


class Block(Interface):
    """One block of a chain. Subclasses are often dataclasses; each has these attributes:

    `id`
        32 bytes, chosen by the VM and never computed by the node; usually `ID.of(raw)`.
    `parent_id`
        32 bytes, the ID of the block that this one extends.
    `height`
        0 for genesis, then one more than the parent's; at most 2**64 - 1.
    `timestamp`
        A `Timestamp`, an aware `datetime`, or Unix seconds. Should not be below the parent's.
    `raw`
        The block as peers and disks carry it: `parse_block(block.raw)` returns an equal block.

    The node verifies a block after its parent, and decides each verified block exactly once: it is
    accepted, or rejected because a sibling was accepted. In between, vmsdk keeps the object that
    was verified, so `verify` can store its results in the block for `accept` to use.
    """

    if TYPE_CHECKING:
        # For type checkers only: at run time, properties would stop subclasses from assigning these
        # attributes, as dataclasses do.
        @property
        def id(self) -> ID: ...
        @property
        def parent_id(self) -> ID: ...
        @property
        def height(self) -> int: ...
        @property
        def timestamp(self) -> TimestampLike: ...
        @property
        def raw(self) -> bytes: ...

    @abstractmethod
    def verify(self) -> None:
        """Check the block against its parent, which is verified or accepted.

        Raise `InvalidBlock` if it breaks a rule. Must not change the accepted state: the block may
        still be rejected.
        """

    @abstractmethod
    def accept(self) -> None:
        """Make the block's effects permanent, in one database batch, and the block the last
        accepted.

        An exception stops the chain for good.
        """

    def reject(self) -> None:
        """Drop the block's effects; its transactions may go back to the mempool.

        Does nothing by default. An exception stops the chain for good.
        """


class VerifyWithContext(Interface):
    """Optional interface of a `Block`: verification that depends on the height of the P-chain.

    While the chain bootstraps, the P-chain's state at that height may not be available locally.
    """

    @property
    @abstractmethod
    def should_verify_with_context(self) -> bool:
        """Whether `verify_with_context` is called for this block instead of `verify`."""

    @abstractmethod
    def verify_with_context(self, p_chain_height: int) -> None:
        """Like `Block.verify`, at this P-chain height. May be called again with another height."""
