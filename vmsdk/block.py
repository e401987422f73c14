"""Blocks as an author writes them."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any

from vmsdk.ids import ID
from vmsdk.timestamp import TimestampLike

_ASYNC = 0x0080 | 0x0200
_GENERATOR = 0x20
_STAR_ARGUMENTS = 0x04
"""Flags of `inspect` (CO_COROUTINE, CO_ASYNC_GENERATOR, CO_GENERATOR, CO_VARARGS), which is slow to
import."""
_OTHER_NAMES = {
    "createhandler": "create_handlers",
    "gethandlers": "create_handlers",
    "initialise": "initialize",
    "setpreferred": "set_preference",
    "setprefered": "set_preference",
    "haswork": "has_pending_work",
    "haspending": "has_pending_work",
    "onconnected": "connected",
    "ondisconnected": "disconnected",
    "onreject": "reject",
    "rejected": "reject",
    "onaccepted": "on_accept",
    "onacceptblock": "on_accept",
    "onblockaccepted": "on_accept",
    "beginblock": "begin",
    "endblock": "end",
    "initgenesis": "genesis",
}
"""Methods by what authors write for them, in lower case and without underscores."""
# Shorter names become other words by a slip: `get_state` is no `set_state`.
_MIN_SLIP = 8
_MIN_SUBSTITUTION = 10


class Interface(ABC):  # noqa: B024 - abstract methods are what its subclasses declare
    """The base of every class whose methods vmsdk calls for the node.

    Raises `TypeError` for a subclass that writes one of them with `async def` (nothing would await
    it, and a block would pass unverified), as a generator, as a property, with other arguments, or
    with a slip in its name; and for one that replaces a private method of vmsdk's.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = [base for base in cls.__mro__ if base.__module__.startswith("vmsdk.")]
        is_authors = not cls.__module__.startswith("vmsdk.")
        declared = {name: value for base in reversed(bases) for name, value in vars(base).items()}
        for name, value in declared.items():
            if name[0] == "_":
                if is_authors:
                    _must_not_hide(cls, name)
                continue
            method = getattr(cls, name, None)
            code = getattr(getattr(method, "fget", method), "__code__", None)
            flags = code.co_flags if isinstance(code, types.CodeType) else 0
            if flags & _ASYNC:
                raise TypeError(
                    f"{cls.__name__}.{name} is async, but vmsdk calls it from a plain thread and never "
                    f"awaits it: write `def {name}` without `async`"
                )
            if is_authors and flags & _GENERATOR and not _yields(value):
                raise TypeError(
                    f"{cls.__name__}.{name} contains `yield`, so calling it runs nothing: write it as a "
                    "plain method"
                )
        if is_authors:
            for base in bases:
                _must_match(cls, base, all_of_it=Interface in base.__bases__)
            _must_be_called(cls, bases)


def _yields(declared: object) -> bool:
    """Whether a method that is declared so may be a generator."""
    returned = getattr(declared, "__annotations__", {}).get("return", "")
    return str(returned).startswith(("Iterable", "Iterator", "Sequence"))


def _must_not_hide(cls: type, name: str) -> None:
    """Raise `TypeError` if *cls* has a method of its author's in place of vmsdk's private one."""
    owner = next(base for base in cls.__mro__ if name in vars(base))
    is_method = isinstance(vars(owner)[name], (types.FunctionType, property, staticmethod, classmethod))
    if is_method and name[:2] != "__" and not owner.__module__.startswith("vmsdk."):
        theirs = next(
            each for each in cls.__mro__ if each.__module__.startswith("vmsdk.") and name in vars(each)
        )
        raise TypeError(
            f"{owner.__name__}.{name} replaces a method of {theirs.__name__}, which needs it: choose another "
            "name"
        )


def _must_match(cls: type, interface: type, *, all_of_it: bool) -> None:
    """Raise `TypeError` if *cls* can't be called as *interface* declares, or as it leaves open."""
    for name, declared in vars(interface).items():
        written = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
        if written is declared or name[0] == "_":
            continue
        if not all_of_it and not getattr(declared, "__isabstractmethod__", False):
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


def _must_be_called(cls: type, bases: list[type]) -> None:
    """Raise `TypeError` for a method whose name is probably meant for one that vmsdk calls."""
    called = {
        name: value
        for base in bases
        if Interface in base.__bases__
        for name, value in vars(base).items()
        if name[0] != "_" and isinstance(value, types.FunctionType)
    }
    authors = [base for base in cls.__mro__ if not base.__module__.startswith("vmsdk.")]
    for name, value in vars(cls).items():
        if name[0] == "_" or not isinstance(value, types.FunctionType):
            continue
        if any(name in vars(base) for base in cls.__mro__[1:]):
            continue
        meant = _meant(name, called)
        # An author's `create_handlers` may well call a `create_handler`.
        if meant is None or any(meant in vars(base) or _mentions(base, name) for base in authors):
            continue
        raise TypeError(f"{cls.__name__}.{name} is never called: vmsdk calls `{meant}`")


def _meant(name: str, called: dict[str, types.FunctionType]) -> str | None:
    """The method that is meant by *name*, if it is not one itself."""
    written = name.lower().replace("_", "")
    other = _OTHER_NAMES.get(written)
    if other in called:
        return other
    for meant, declared in called.items():
        plain = meant.replace("_", "")
        if written == plain:
            return meant if name != meant else None
        # Python refuses a class that lacks an abstract method.
        if not getattr(declared, "__isabstractmethod__", False) and _is_slip(written, plain):
            return meant
    return None


def _is_slip(written: str, meant: str) -> bool:
    """Whether one letter is missing, too many or wrong, or two are exchanged."""
    if len(meant) < _MIN_SLIP or written[0] != meant[0]:
        return False
    if len(written) == len(meant):
        wrong = [i for i, letter in enumerate(meant) if letter != written[i]]
        if len(wrong) == 1:
            return len(meant) >= _MIN_SUBSTITUTION
        i, j = wrong if len(wrong) == 2 else (0, 0)
        return j == i + 1 and (written[i], written[j]) == (meant[j], meant[i])
    longer, shorter = (written, meant) if len(written) > len(meant) else (meant, written)
    return any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))


def _mentions(cls: type, name: str) -> bool:
    """Whether a method of *cls* uses *name*."""
    codes = [each.__code__ for each in vars(cls).values() if isinstance(each, types.FunctionType)]
    while codes:
        code = codes.pop()
        if name in code.co_names:
            return True
        codes += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return False


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
