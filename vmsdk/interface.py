"""What vmsdk checks of a class whose methods it calls: that each is what its author means."""

from __future__ import annotations

import re
import sys
import types
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

_ASYNC = 0x0080 | 0x0200
_GENERATOR = 0x20
_STAR_ARGUMENTS = 0x04
_STAR_KEYWORDS = 0x08
"""Flags of `inspect` (CO_COROUTINE, CO_ASYNC_GENERATOR, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS),
which is slow to import."""
_METHODS = (types.FunctionType, property, staticmethod, classmethod)
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

    _set_at_start: ClassVar[tuple[str, ...]] = ()
    """Attributes that vmsdk sets on an object of the class when its chain starts."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = _ours(cls)
        is_authors = not _is_ours(cls)
        if is_authors:
            _must_not_take(cls, bases)
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
                _must_match(cls, base)
            _must_be_called(cls, bases)


def must_not_hold(instance: Interface) -> None:
    """Raise `TypeError` if an author's `__init__` has set an attribute that vmsdk needs."""
    cls = type(instance)
    for name in vars(instance):
        for base in _ours(cls):
            if name in vars(base).get("_set_at_start", ()) and name != "ctx":
                raise _overwritten(cls, name, base)
            if name[0] == "_" and isinstance(vars(base).get(name), _METHODS):
                raise _replaced(cls, name, base)


def must_not_be_frozen(cls: type) -> None:
    """Raise `TypeError` for a class of VMs that is a frozen dataclass. One with such a base can be
    changed, except for the base's fields.
    """
    if getattr(vars(cls).get("__dataclass_params__"), "frozen", False):
        raise TypeError(
            f"{cls.__name__} is a frozen dataclass, but vmsdk sets attributes of a VM when its chain starts: "
            "leave out `frozen=True`"
        )


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("vmsdk.")


def _ours(cls: type) -> list[type]:
    """*cls* and its bases, as far as they are vmsdk's."""
    return [base for base in cls.__mro__ if _is_ours(base)]


def _authors(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if not _is_ours(base)]


def _must_not_take(cls: type, bases: list[type]) -> None:
    """Raise `TypeError` if an author's class has a name that vmsdk sets on its objects."""
    for base in bases:
        for name in vars(base).get("_set_at_start", ()):
            for each in _authors(cls):
                if name in vars(each):
                    raise _overwritten(each, name, base)


def _overwritten(owner: type, name: str, base: type) -> TypeError:
    return TypeError(
        f"{owner.__name__}.{name} is overwritten when the chain starts, because vmsdk's {base.__name__} has "
        "an attribute of this name: choose another one"
    )


def _replaced(owner: type, name: str, base: type) -> TypeError:
    return TypeError(
        f"{owner.__name__}.{name} replaces a method of {base.__name__}, which needs it: choose another name"
    )


def _yields(declared: object) -> bool:
    """Whether a method that is declared so may be a generator."""
    returned = getattr(declared, "__annotations__", {}).get("return", "")
    return str(returned).startswith(("Iterable", "Iterator", "Sequence"))


def _must_not_hide(cls: type, name: str) -> None:
    """Raise `TypeError` if *cls* has something of its author's in place of vmsdk's private method,
    or a method in place of anything that is private.
    """
    owner = next(base for base in cls.__mro__ if name in vars(base))
    if name[:2] == "__" or _is_ours(owner):
        return
    theirs = next(base for base in _ours(cls) if name in vars(base))
    if any(isinstance(vars(each)[name], _METHODS) for each in (owner, theirs)):
        raise _replaced(owner, name, theirs)


def _must_match(cls: type, interface: type) -> None:
    """Raise `TypeError` if *cls* can't be used as *interface* declares."""
    for name, declared in vars(interface).items():
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if name[0] == "_" or _is_ours(owner):
            continue
        written = vars(owner)[name]
        _must_not_be_stub(cls, owner, name)
        if isinstance(declared, (property, cached_property)):
            _must_be_property(owner, name, interface)
        if not isinstance(declared, types.FunctionType):
            continue
        method = getattr(declared, "__wrapped__", declared)  # of a context manager
        if not callable(getattr(cls, name)):
            kind = type(written).__name__
            raise TypeError(f"{owner.__name__}.{name} is a {kind}, but vmsdk calls it: make it a method")
        if isinstance(written, types.FunctionType) and not _takes(written, method):
            raise TypeError(
                f"{owner.__name__}.{name} does not take the arguments that it is called with: write "
                f"`def {name}({_parameters(method)})`"
            )


def _stub() -> None: ...


def _documented_stub() -> None:
    """Another code, as the text is a constant of the function."""


_STUBS = {each.__code__.co_code for each in (_stub, _documented_stub)}


def _must_not_be_stub(cls: type, owner: type, name: str) -> None:
    """Raise `TypeError` if *owner* is a `Protocol` whose method, without a body, hides another."""
    if not vars(owner).get("_is_protocol") or not _is_stub(vars(owner)[name]):
        return
    for hidden in _after(owner, cls):
        if name in vars(hidden) and not _is_stub(vars(hidden)[name]):
            raise TypeError(
                f"{owner.__name__}.{name} does nothing, but hides {hidden.__name__}.{name}: write "
                f"{owner.__name__} after {hidden.__name__} in the bases of {cls.__name__}"
            )


def _is_stub(method: object) -> bool:
    if not isinstance(method, types.FunctionType) or method.__code__.co_code not in _STUBS:
        return False
    # `return "text"` differs in its constants alone.
    return all(each in (None, method.__doc__) for each in method.__code__.co_consts)


def _must_be_property(owner: type, name: str, interface: type) -> None:
    written, declared = vars(owner)[name], vars(interface)[name]
    is_method = isinstance(written, (types.FunctionType, classmethod, staticmethod))
    if getattr(declared, "__isabstractmethod__", False):  # a plain value will do as well
        if is_method:
            raise TypeError(f"{owner.__name__}.{name} is a method: write @property above it")
    elif is_method or not hasattr(type(written), "__get__"):
        kind = "a method" if is_method else f"{written!r:.100}"
        raise TypeError(
            f"{owner.__name__}.{name} is {kind}, but {interface.__name__}.{name} is a property, which vmsdk "
            "reads: choose another name"
        )


def _takes(written: types.FunctionType, declared: types.FunctionType) -> bool:
    """Whether *written* can be called in each way in which *declared* can be."""
    code, given = written.__code__, declared.__code__.co_argcount
    if code.co_argcount - len(written.__defaults__ or ()) > given - len(declared.__defaults__ or ()):
        return False
    if given > code.co_argcount and not code.co_flags & _STAR_ARGUMENTS:
        return False
    names, own = {*_keywords(declared)}, {*_keywords(written)}
    if not own - (written.__kwdefaults__ or {}).keys() <= names - (declared.__kwdefaults__ or {}).keys():
        return False
    return bool(code.co_flags & _STAR_KEYWORDS) or names <= own | {*code.co_varnames[: code.co_argcount]}


def _keywords(function: types.FunctionType) -> tuple[str, ...]:
    """The arguments that are given by keyword only."""
    code = function.__code__
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]


def _parameters(function: types.FunctionType) -> str:
    """The arguments as they are written. `inspect` is slow to import."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    values = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    values |= function.__kwdefaults__ or {}
    keywords = _keywords(function)
    shown = [f"{name}={values[name]!r}" if name in values else name for name in names + keywords]
    return ", ".join([*shown[: len(names)], "*", *shown[len(names) :]] if keywords else shown)


def _must_be_called(cls: type, bases: list[type]) -> None:
    """Raise `TypeError` for a method that is spelled almost like one that vmsdk calls: in other
    case, with other underscores, or `create_handler`.
    """
    spellings = {name.replace("_", ""): name for name in _called(bases)}
    if "createhandlers" in spellings:
        spellings["createhandler"] = "create_handlers"
    for name in _own_methods(cls):
        meant = spellings.get(name.lower().replace("_", ""), name)
        # An author's `create_handlers` may well call a `create_handler`.
        if meant != name and not _is_written(meant, cls):
            raise TypeError(f"{cls.__name__}.{name} is never called: vmsdk calls `{meant}`")


def likely_slips(cls: type) -> Iterator[tuple[str, str]]:
    """Yield each method whose name looks like a slip, with the one of vmsdk's that may be meant.

    What its module mentions again is a helper, and not yielded.
    """
    called = _called(_ours(cls))
    for base in _authors(cls):
        for name in _own_methods(base):
            meant = _meant(name, called)
            if meant is not None and not _is_written(meant, cls) and not _is_mentioned(name, base, base):
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
    return any(method in vars(base) for base in _authors(cls))


def _is_mentioned(name: str, owner: type, cls: type) -> bool:
    """Whether the module of *cls* has the name of *owner*'s method in it, besides its definition;
    True if that can't be read.
    """
    if cls is object:
        return False
    try:
        source = Path(sys.modules[cls.__module__].__file__ or "").read_text(encoding="utf-8")
    except (AttributeError, KeyError, OSError, ValueError):
        return True
    return len(re.findall(rf"\b{name}\b", source)) > (cls.__module__ == owner.__module__)


def _meant(name: str, called: Mapping[str, types.FunctionType]) -> str | None:
    """The method that may be meant by *name*; None if it is one of them."""
    if name in called:
        return None
    written = name.lower().replace("_", "")
    other = _OTHER_NAMES.get(written)
    if other in called:
        return other
    for meant, declared in called.items():
        spelled = meant.replace("_", "")
        # Python refuses a class that lacks an abstract method.
        is_abstract = getattr(declared, "__isabstractmethod__", False)
        if not is_abstract and (written == spelled or _is_slip(written, spelled)):
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
        for owner in cls.__mro__:
            if owner.__module__.startswith("vmsdk."):
                continue
            for name in sorted(abstract & vars(owner).keys()):
                # A base may call its own method, or another of the author's classes may.
                is_used = owner is not cls and any(_is_mentioned(name, owner, each) for each in _authors(cls))
                if not is_used and not any(name in vars(base) for base in _after(owner, cls)):
                    raise TypeError(
                        f"{owner.__name__}.{name} is never called, because {cls.__name__} does not derive "
                        f"from vmsdk.{interface.__name__}: add that to its bases, or rename the method"
                    )


def _after(owner: type, cls: type) -> tuple[type, ...]:
    order = cls.__mro__
    return order[order.index(owner) + 1 :]
