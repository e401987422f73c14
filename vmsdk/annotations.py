"""Annotations of functions, some of which may not be evaluable at run time."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

# From Python 3.14 on, annotations are evaluated when they are read. With FORWARDREF, undefined
# names are no error.
_LENIENT: dict[str, Any] = {}
_LENIENT_SIGNATURE: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    from annotationlib import Format

    _LENIENT["format"] = _LENIENT_SIGNATURE["annotation_format"] = Format.FORWARDREF


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of *function*. Raises `TypeError` or `ValueError` if it has none."""
    return inspect.signature(function, **_LENIENT_SIGNATURE)


def own_signature(function: types.FunctionType) -> inspect.Signature:
    """Return the signature of *function* itself, even if it wraps another one or claims to have
    another one (`__signature__`). It has no annotations.
    """
    code, defaults, closure = function.__code__, function.__defaults__, function.__closure__
    bare = types.FunctionType(code, {}, argdefs=defaults, closure=closure)
    bare.__kwdefaults__ = function.__kwdefaults__
    return inspect.signature(bare)


def without_partial(function: Callable[..., Any]) -> tuple[Callable[..., Any], frozenset[str]]:
    """Return the function that a `functools.partial` calls, and the names of the arguments that the
    partial passes.
    """
    given: set[str] = set()
    called = function
    while isinstance(called, functools.partial):
        given.update(called.keywords)
        called = called.func
    if called is not function:
        missing = signature(function).parameters
        by_position = (p for p in signature(called).parameters.values() if p.name not in missing)
        given.update(p.name for p in by_position if p.kind is not p.POSITIONAL_ONLY)
    return called, frozenset(given)


def type_hints(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the evaluated annotations of *function*, and the errors of those that can't be
    evaluated, by name.
    """
    function, _ = without_partial(function)
    try:
        return typing.get_type_hints(function), {}
    except Exception:  # noqa: BLE001 - an annotation may raise anything
        pass
    names: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    hints: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, annotation in inspect.get_annotations(function, **_LENIENT).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(alone, names)
        except Exception as error:  # noqa: BLE001
            errors[name] = f"{annotation}: {error}"
    return hints, errors
