"""What vmsdk checks of a class whose methods it calls: that each is what its author means."""

from __future__ import annotations

import re
import sys
import types
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_ASYNC = 0x0080 | 0x0200
_GENERATOR = 0x20
_STAR_ARGUMENTS = 0x04
"""Flags of `inspect` (CO_COROUTINE, CO_ASYNC_GENERATOR, CO_GENERATOR, CO_VARARGS), which is slow to
import."""
# What authors write for these methods, in lower case and without underscores.
_OTHER_NAMES = {
    "gethandlers": "create_handlers",
    "initialise": "initialize",
    "setpreferred": "set_preference",
    "setprefered": "set_preference",
    "haswork": "has_pending_work",
    "haspending": "has_pending_work",
    "onconnected": "connected",
    "ondisconnected": "disconnected",
    "onaccepted": "on_accept",
    "onacceptblock": "on_accept",
    "onblockaccepted": "on_accept",
    "beginblock": "begin",
    "endblock": "end",
    "initgenesis": "genesis",
}
# Shorter names become other words by a slip: `get_state` is not `set_state`.
_MIN_SLIP = 8
_MIN_SUBSTITUTION = 10


class Interface(ABC):  # noqa: B024 - abstract methods are what its subclasses declare
    """The base of every class whose methods vmsdk calls for the node.

    Raises `TypeError` for a subclass that writes one of them with `async def` (nothing would await
    it, and a block would pass unverified), as a generator, as a property, with other arguments, or
    with a name in another case; and for one that replaces a private method of vmsdk's.
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
    """Raise `TypeError` for a method that is spelled almost like one that vmsdk calls: in other
    case, with other underscores, or `create_handler`.
    """
    spellings = {name.replace("_", ""): name for name in _called(bases)}
    if "createhandlers" in spellings:
        spellings["createhandler"] = "create_handlers"
    authors = [base for base in cls.__mro__ if not base.__module__.startswith("vmsdk.")]
    for name in _own_methods(cls):
        meant = spellings.get(name.lower().replace("_", ""), name)
        # An author's `create_handlers` may well call a `create_handler`.
        if meant != name and not any(meant in vars(base) for base in authors):
            raise TypeError(f"{cls.__name__}.{name} is never called: vmsdk calls `{meant}`")


def likely_slips(cls: type) -> Iterator[tuple[str, str]]:
    """Yield each method whose name looks like a slip, with the one of vmsdk's that may be meant.

    What its module mentions again is a helper, and not yielded.
    """
    called = _called([base for base in cls.__mro__ if base.__module__.startswith("vmsdk.")])
    for base in cls.__mro__:
        if base.__module__.startswith("vmsdk."):
            continue
        for name in _own_methods(base):
            meant = _meant(name, called)
            if meant is not None and not _is_written(meant, cls) and not _is_mentioned(name, base):
                yield f"{base.__name__}.{name}", meant


def _called(bases: Iterable[type]) -> dict[str, types.FunctionType]:
    """The methods that vmsdk calls, as these classes of its declare them."""
    return {
        name: value
        for base in bases
        if Interface in base.__bases__
        for name, value in vars(base).items()
        if name[0] != "_" and isinstance(value, types.FunctionType)
    }


def _own_methods(cls: type) -> list[str]:
    """The public methods that *cls* has and none of its bases."""
    return [
        name
        for name, value in vars(cls).items()
        if name[0] != "_"
        and isinstance(value, types.FunctionType)
        and not any(name in vars(base) for base in cls.__mro__[1:])
    ]


def _is_written(method: str, cls: type) -> bool:
    return any(method in vars(base) for base in cls.__mro__ if not base.__module__.startswith("vmsdk."))


def _is_mentioned(name: str, cls: type) -> bool:
    """Whether the module of *cls* has the name in a second place; True if that can't be read."""
    try:
        source = Path(sys.modules[cls.__module__].__file__ or "").read_text(encoding="utf-8")
    except (AttributeError, KeyError, OSError, ValueError):
        return True
    return len(re.findall(rf"\b{name}\b", source)) > 1


def _meant(name: str, called: Mapping[str, types.FunctionType]) -> str | None:
    """The method that may be meant by *name*, which is none of them."""
    written = name.lower().replace("_", "")
    other = _OTHER_NAMES.get(written)
    if other in called:
        return other
    for meant, declared in called.items():
        # Python refuses a class that lacks an abstract method.
        if not getattr(declared, "__isabstractmethod__", False) and _is_slip(written, meant.replace("_", "")):
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
