"""Checks of the classes whose methods vmsdk calls, when an author defines a subclass."""

from __future__ import annotations

import inspect
import re
import sys
import types
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from vmsdk.annotations import own_signature

_METHODS = (types.FunctionType, property, staticmethod, classmethod)
# Likely mistakes, in lower case and without underscores, and the methods that are meant.
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
# One letter makes another word of a shorter name: `get_state` is not `set_state`.
_MIN_SLIP = 8
_MIN_SUBSTITUTION = 10


class Interface(ABC):  # noqa: B024 - abstract methods are what its subclasses declare
    """The base of each class whose methods vmsdk calls.

    Raises `TypeError` for a subclass in which one of these methods is async (nothing would await
    it, and a block would pass unverified), a generator or a property, takes other arguments or has
    its name in another case, and for a subclass that replaces a private method of vmsdk.
    """

    _set_at_start: ClassVar[tuple[str, ...]] = ()
    """The attributes that vmsdk sets when the chain starts."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = _ours(cls)
        is_authors = not is_ours(cls)
        if is_authors:
            _must_not_take(cls, bases)
        declared = {name: value for base in reversed(bases) for name, value in vars(base).items()}
        for name, value in declared.items():
            if name[0] == "_":
                if is_authors:
                    _must_not_hide(cls, name)
                continue
            method = getattr(cls, name, None)
            method = getattr(method, "fget", method)
            if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
                raise TypeError(
                    f"{cls.__name__}.{name} is async, but vmsdk calls it from a plain thread and never "
                    f"awaits it: write `def {name}` without `async`"
                )
            if is_authors and inspect.isgeneratorfunction(method) and not _yields(value):
                raise TypeError(
                    f"{cls.__name__}.{name} contains `yield`, so calling it runs nothing: write it as a "
                    "plain method"
                )
        if is_authors:
            for base in bases:
                _must_match(cls, base)
            _must_be_called(cls, bases)


def must_not_hold(instance: Interface) -> None:
    """Raise `TypeError` if the author's `__init__` has set an attribute that vmsdk needs."""
    cls = type(instance)
    for name in vars(instance):
        for base in _ours(cls):
            if name in vars(base).get("_set_at_start", ()) and name != "ctx":
                raise _overwritten(cls, name, base)
            if name[0] == "_" and isinstance(vars(base).get(name), _METHODS):
                raise _replaced(cls, name, base)


def must_not_be_frozen(cls: type) -> None:
    """Raise `TypeError` if a VM's class is a frozen dataclass. Its bases may be: they only protect
    their own fields.
    """
    if getattr(vars(cls).get("__dataclass_params__"), "frozen", False):
        raise TypeError(
            f"{cls.__name__} is a frozen dataclass, but vmsdk sets attributes of a VM when its chain starts: "
            "leave out `frozen=True`"
        )


def is_ours(cls: type) -> bool:
    """Whether a class is vmsdk's, and not the author's."""
    return cls.__module__.startswith("vmsdk.")


def _ours(cls: type) -> list[type]:
    """*cls* and its bases that belong to vmsdk."""
    return [base for base in cls.__mro__ if is_ours(base)]


def _authors(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if not is_ours(base)]


def _must_not_take(cls: type, bases: list[type]) -> None:
    """Raise `TypeError` if an author's class defines an attribute that vmsdk sets at the start."""
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
    """Whether a generator can implement the method *declared*."""
    returned = getattr(declared, "__annotations__", {}).get("return", "")
    return str(returned).startswith(("Iterable", "Iterator", "Sequence"))


def _must_not_hide(cls: type, name: str) -> None:
    """Raise `TypeError` if the author replaces a private method of vmsdk, or something else that is
    private with a method.
    """
    owner = next(base for base in cls.__mro__ if name in vars(base))
    if name[:2] == "__" or is_ours(owner):
        return
    theirs = next(base for base in _ours(cls) if name in vars(base))
    if any(isinstance(vars(each)[name], _METHODS) for each in (owner, theirs)):
        raise _replaced(owner, name, theirs)


def _must_match(cls: type, interface: type) -> None:
    """Raise `TypeError` if *cls* does not implement *interface* as declared."""
    for name, declared in vars(interface).items():
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if name[0] == "_" or is_ours(owner):
            continue
        written = vars(owner)[name]
        _must_not_be_stub(cls, owner, name)
        if isinstance(declared, (property, cached_property)):
            _must_be_property(owner, name, interface)
        if not isinstance(declared, types.FunctionType):
            continue
        if not callable(getattr(cls, name)):
            kind = type(written).__name__
            raise TypeError(f"{owner.__name__}.{name} is a {kind}, but vmsdk calls it: make it a method")
        expected = inspect.signature(declared)
        if isinstance(written, types.FunctionType) and not _takes(written, expected):
            names = [each.replace(annotation=each.empty) for each in expected.parameters.values()]
            raise TypeError(
                f"{owner.__name__}.{name} does not take the arguments that it is called with: write "
                f"`def {name}{inspect.Signature(names)}`"
            )


def _stub() -> None: ...


def _documented_stub() -> None:
    """Has other bytecode, because a docstring is a constant."""


_STUBS = {each.__code__.co_code for each in (_stub, _documented_stub)}


def _must_not_be_stub(cls: type, owner: type, name: str) -> None:
    """Raise `TypeError` if *owner* is a `Protocol` whose empty method hides another one."""
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
    # `return "text"` differs only in its constants.
    return all(each in (None, method.__doc__) for each in method.__code__.co_consts)


def _must_be_property(owner: type, name: str, interface: type) -> None:
    written, declared = vars(owner)[name], vars(interface)[name]
    is_method = isinstance(written, (types.FunctionType, classmethod, staticmethod))
    if getattr(declared, "__isabstractmethod__", False):  # a plain value is also allowed
        if is_method:
            raise TypeError(f"{owner.__name__}.{name} is a method: write @property above it")
    elif is_method or not hasattr(type(written), "__get__"):
        kind = "a method" if is_method else f"{written!r:.100}"
        raise TypeError(
            f"{owner.__name__}.{name} is {kind}, but {interface.__name__}.{name} is a property, which vmsdk "
            "reads: choose another name"
        )


def _takes(written: types.FunctionType, declared: inspect.Signature) -> bool:
    """Whether *written* can be called both with all arguments of *declared* and with those that
    have no default.
    """
    own = own_signature(written)
    parameters = declared.parameters.values()
    for given in (parameters, [each for each in parameters if each.default is each.empty]):
        keywords = [each.name for each in given if each.kind is each.KEYWORD_ONLY]
        try:
            own.bind(*[None] * (len(given) - len(keywords)), **dict.fromkeys(keywords))
        except TypeError:
            return False
    return True


def _must_be_called(cls: type, bases: list[type]) -> None:
    """Raise `TypeError` for a method whose name differs from one that vmsdk calls only in case or
    underscores, and for `create_handler`.
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
    """Yield each method whose name looks like a typo, and the method of vmsdk that may be meant.

    If its module mentions the name again, it is a helper and not yielded.
    """
    called = _called(_ours(cls))
    for base in _authors(cls):
        for name in _own_methods(base):
            meant = _meant(name, called)
            if meant is not None and not _is_written(meant, cls) and not _is_mentioned(name, base, base):
                yield f"{base.__name__}.{name}", meant


def _called(bases: Iterable[type]) -> dict[str, types.FunctionType]:
    """The methods that vmsdk calls, as declared in *bases*."""
    return {
        name: value
        for base in bases
        if Interface in base.__bases__
        for name, value in vars(base).items()
        if name[0] != "_" and isinstance(value, types.FunctionType)
    }


def _own_methods(cls: type) -> list[str]:
    """The public methods of *cls* that none of its bases has."""
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
    """Whether the source of *cls*'s module contains the name of *owner*'s method, apart from its
    definition. True if it can't be read.
    """
    if cls is object:
        return False
    try:
        source = Path(sys.modules[cls.__module__].__file__ or "").read_text(encoding="utf-8")
    except (AttributeError, KeyError, OSError, ValueError):
        return True
    return len(re.findall(rf"\b{name}\b", source)) > (cls.__module__ == owner.__module__)


def _meant(name: str, called: Mapping[str, types.FunctionType]) -> str | None:
    """The method of *called* that *name* may be a typo of, if any."""
    if name in called:
        return None
    written = name.lower().replace("_", "")
    other = _OTHER_NAMES.get(written)
    if other in called:
        return other
    for meant, declared in called.items():
        spelled = meant.replace("_", "")
        # Python itself reports that an abstract method is missing.
        is_abstract = getattr(declared, "__isabstractmethod__", False)
        if not is_abstract and (written == spelled or _is_slip(written, spelled)):
            return meant
    return None


def _is_slip(written: str, meant: str) -> bool:
    """Whether the two differ by one letter, or by two that are swapped."""
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
    """Raise `TypeError` if *cls* has a method of one of these optional interfaces but does not
    derive from it: vmsdk would never call the method.

    Call it with the class of a VM, not with a base, whose subclasses may add the interface.
    """
    for interface in interfaces:
        if issubclass(cls, interface):
            continue
        abstract: frozenset[str] = getattr(interface, "__abstractmethods__", frozenset())
        for owner in cls.__mro__:
            if is_ours(owner):
                continue
            for name in sorted(abstract & vars(owner).keys()):
                # The method of a base may be a helper of the author's classes.
                is_used = owner is not cls and any(_is_mentioned(name, owner, each) for each in _authors(cls))
                if not is_used and not any(name in vars(base) for base in _after(owner, cls)):
                    raise TypeError(
                        f"{owner.__name__}.{name} is never called, because {cls.__name__} does not derive "
                        f"from vmsdk.{interface.__name__}: add that to its bases, or rename the method"
                    )


def _after(owner: type, cls: type) -> tuple[type, ...]:
    order = cls.__mro__
    return order[order.index(owner) + 1 :]
