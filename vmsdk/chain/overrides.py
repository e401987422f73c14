"""Overrides: whether an author's method in place of one of vmsdk's calls it, as it must."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partialmethod
from typing import Any

_CACHED = type(lru_cache(len))


def must_extend(cls: type, names: Iterable[str]) -> None:
    """Raise `TypeError` if *cls*, or a base of its author's, overrides one of these methods without
    calling that of a base, for all that can be seen.
    """
    for name in names:
        owners = _owners(cls.__mro__, name)
        while len(owners) > 1 and not owners[0].__module__.startswith("vmsdk."):
            owner, base = owners[:2]
            owners = _owners(_extended(cls, owner, name), name)
            if not owners:
                raise TypeError(
                    f"{owner.__name__}.{name} replaces {base.__name__}.{name}, which must run too: call "
                    f"super().{name}(…) in it"
                )


def _owners(classes: Iterable[type], name: str) -> list[type]:
    return [each for each in classes if name in vars(each)]


def _extended(cls: type, owner: type, name: str) -> Sequence[type]:
    """The bases in which *owner*'s method finds the one that it calls: all for `super()`, those
    from `Base` on for `Base.method(self)`. Empty if nothing that it may run calls one.
    """
    order = cls.__mro__
    bases = order[order.index(owner) + 1 :]
    layers = list(_layers(vars(owner)[name]))
    if not layers or "__class__" in _words(layers[-1]) or _is_wrapper(layers[-1], name):
        return bases
    if any({"super", "getattr"} & _words(wrapper) for wrapper in layers[:-1]):
        return bases
    own = [function for each in order if not _is_ours(each) for function in _members(each, but=name)]
    called: set[type] = set()
    for function in _reached(layers + own):
        called.update(base for base in bases if function in _layers(vars(base).get(name)))
        words = _words(function)
        if name not in words:
            continue
        # In a class that is no base, `super()` is another one's.
        if ("__class__" in words and function in own) or ("super" in words and "__class__" not in words):
            return bases
        values = list(_values(function))
        called.update(
            base
            for base in bases
            if hasattr(base, name) and (base.__name__ in words or any(value is base for value in values))
        )
    return next((bases[index:] for index in reversed(range(len(bases))) if bases[index] in called), ())


def _is_wrapper(function: types.FunctionType, name: str) -> bool:
    """Whether it is what a decorator without `functools.wraps` has put in a method's place."""
    return function.__code__.co_name != name and bool(function.__code__.co_freevars)


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("vmsdk.")


def _layers(value: Any) -> Iterator[types.FunctionType]:
    """The function that *value* is, and the one that each decorator has wrapped. None for objects
    of other types, whose attributes may be computed.
    """
    while True:
        kind = type(value)
        if kind is types.FunctionType:
            yield value
            value = vars(value).get("__wrapped__")
        elif kind in (staticmethod, classmethod):
            value = value.__func__
        elif kind is partialmethod:
            value = value.func
        elif kind is _CACHED:
            value = value.__wrapped__
        else:
            return


def _members(cls: type, but: str = "") -> list[types.FunctionType]:
    return [function for key, value in vars(cls).items() if key != but for function in _layers(value)]


def _reached(functions: Iterable[types.FunctionType]) -> Iterator[types.FunctionType]:
    """The functions, and those that they may call by a name: of their modules, of the functions
    around them, of classes and modules that they name. No farther than the author's own code.
    """
    pending, seen = list(functions), set()
    while pending:
        function = pending.pop()
        if function in seen:
            continue
        seen.add(function)
        yield function
        package = str(function.__module__).partition(".")[0]
        if package == "vmsdk" or package in sys.stdlib_module_names - {"__main__"}:
            continue
        words = _words(function)
        for value in _values(function):
            inside: list[Any] = [value]
            if type(value) is types.ModuleType:
                inside = [vars(value).get(word) for word in words]
            for each in inside:
                is_authors = issubclass(type(each), type) and not _is_ours(each)
                pending += _members(each) if is_authors else _layers(each)


def _words(function: types.FunctionType) -> set[str]:
    """The names in a function and in those that it defines, and the texts, as for `getattr`."""
    words: set[str] = set()
    codes = [function.__code__]
    for code in codes:
        words.update(code.co_names, code.co_freevars)
        words.update(each for each in code.co_consts if isinstance(each, str))
        codes += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return words


def _values(function: types.FunctionType) -> Iterator[Any]:
    """The values of the names in a function that are defined outside it."""
    for word in _words(function).difference(function.__code__.co_freevars):
        if word in function.__globals__:
            yield function.__globals__[word]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet, as `__class__` is while its class is made
            continue
