"""Overrides of vmsdk's methods that must call `super()`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache, partialmethod
from types import CodeType, FunctionType, ModuleType
from typing import Any

from vmsdk.interface import is_ours

_WRAPPERS = (staticmethod, classmethod, type(lru_cache(len)))


def must_extend(cls: type, names: Iterable[str]) -> None:
    """Raise `TypeError` if *cls*, or a mixin, overrides one of these methods without calling the
    base's.

    The call is looked for in the override, in its decorators, in the other methods of the author's
    classes, and in the functions and classes that these name. It need not be executed.
    """
    for name in names:
        owners = [each for each in cls.__mro__ if name in vars(each)]
        while len(owners) > 1 and not is_ours(owners[0]):
            called = _called(cls, name, owners)
            if not called:
                raise TypeError(
                    f"{owners[0].__name__}.{name} replaces {owners[1].__name__}.{name}, which must run too: "
                    f"call super().{name}(…) in it"
                )
            owners = called


def _called(cls: type, name: str, owners: list[type]) -> list[type]:
    """The classes after the first of *owners* whose methods its method may call: all for `super()`,
    those from `Base` on for `Base.method(self)`.
    """
    method = list(_functions(vars(owners[0])[name]))
    if not method:
        return owners[1:]  # an object of another type: its attributes may be computed
    helpers = [
        function
        for each in cls.__mro__
        if not is_ours(each)
        for key in vars(each)
        if key != name
        for function in _functions(vars(each)[key])
    ]
    bases = cls.__mro__[cls.__mro__.index(owners[0]) + 1 :]
    last = -1
    own = {*method, *helpers}
    for function in _reachable(method + helpers):
        words = _words(function)
        values = list(_values(function))
        # The class to which `super()` belongs is one of the values. If a class is made again, as by
        # `dataclass(slots=True)`, that is still the first one.
        is_own = "__class__" not in words or function in own
        is_own |= any(each is base for base in cls.__mro__ for each in values)
        if is_own and "super" in words and (function in method or name in words):
            return owners[1:]
        is_wrapper = function in method and (function is not method[-1] or function.__name__ != name)
        if "getattr" in words and is_wrapper:  # a decorator that takes any method's name
            return owners[1:]
        for index, base in enumerate(bases):
            is_named = name in words and (base.__name__ in words or any(each is base for each in values))
            if hasattr(base, name) and (is_named or function is vars(base).get(name)):
                last = max(last, index)
    return [] if last < 0 else [each for each in owners[1:] if each in bases[last:]]


def _functions(value: Any) -> Iterator[FunctionType]:
    """The function that a class's attribute is, and those that its decorators wrap."""
    while True:
        # By the exact type: an object such as a mock has any attribute.
        if type(value) is FunctionType:
            yield value
            value = vars(value).get("__wrapped__")
        elif type(value) in _WRAPPERS:
            value = value.__wrapped__
        elif type(value) is partialmethod:
            value = value.func
        else:
            return


def _reachable(functions: Iterable[FunctionType]) -> Iterator[FunctionType]:
    """The functions, and those of the author that they name, directly or through other ones."""
    pending = deque(functions)
    seen = set()
    while pending:
        function = pending.popleft()
        if function in seen:
            continue
        seen.add(function)
        yield function
        package = str(function.__module__).partition(".")[0]
        if package == "vmsdk" or package in sys.stdlib_module_names - {"__main__"}:
            continue
        for value in _values(function):
            named = [value]
            if type(value) is ModuleType:
                named = [vars(value).get(word) for word in _words(function)]
            for each in named:
                is_class = issubclass(type(each), type) and not is_ours(each)
                for member in vars(each).values() if is_class else [each]:
                    pending += _functions(member)


def _words(function: FunctionType) -> set[str]:
    """The names in a function and in those that it defines, and its texts, as for `getattr`."""
    words: set[str] = set()
    codes = [function.__code__]
    for code in codes:
        words.update(code.co_names, code.co_freevars)
        words.update(each for each in code.co_consts if isinstance(each, str))
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    return words


def _values(function: FunctionType) -> Iterator[Any]:
    """The values of the names that a function uses and does not define."""
    for word in _words(function).difference(function.__code__.co_freevars):
        if word in function.__globals__:
            yield function.__globals__[word]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet, such as the name of a class that a function creates
            pass
