"""A method of a JSON-RPC service: its names on the wire, its parameters and their conversion."""

from __future__ import annotations

import contextlib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partialmethod
from typing import Any

from vmsdk.annotations import signature, type_hints, without_partial
from vmsdk.http.connection import Connection
from vmsdk.http.rpcmessage import INVALID_PARAMS, METHOD_NOT_FOUND, JSONRPCError
from vmsdk.http.rpctypes import Convert, NotInJSON, WrongType, anything, converter, quoted

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class RPCMethod:
    """A function and its signature. Raises `TypeError` for a function that JSON-RPC can't call."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        """Its name in errors and in the log."""
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        try:
            parameters = list(signature(function).parameters.values())
        except ValueError as error:  # a method without parameters, or a function in C
            raise TypeError(f"{name}: {error}: give it `self`, or other parameters") from None
        called, given = without_partial(function)
        parameters = [p for p in parameters if p.name not in given]
        hints = _hints(name, function)
        for parameter in parameters:
            if parameter.default is None and parameter.name in hints:  # as Python 3.10 does by itself
                with contextlib.suppress(TypeError):  # not a type, such as `[str]`
                    hints[parameter.name] = typing.Optional[hints[parameter.name]]  # noqa: UP045
        self._connection = next((p for p in parameters if _is_connection(hints.get(p.name))), None)
        if self._connection is not None:
            self._needs_connection = hints[self._connection.name] is Connection
            self._before_connection = parameters.index(self._connection)
            parameters.remove(self._connection)
            if self._connection.kind not in (
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                inspect.Parameter.KEYWORD_ONLY,
            ):
                raise TypeError(
                    f"{name}: the connection, {self._connection.name}, must be an ordinary parameter"
                )
        self._converts, closed = _converters(name, hints, parameters)
        self._closed = {_receiver(called), *given, *(p.name for p in closed)}
        if closed:
            parameters = _open(parameters, closed)
        self._positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._more = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._any_name = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self._by_name = {_normal(p.name): p.name for p in named}
        if len(self._by_name) < len(named):
            raise TypeError(f"{name}: two of its parameters differ only in case or underscores")
        required = [
            p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        self._required = [p.name for p in required]
        self._required_positional = sum(1 for p in self._positional if p.default is p.empty)
        self._only_by_position = any(p.kind is p.POSITIONAL_ONLY for p in required)
        self._only_by_name = [p.name for p in required if p.kind is p.KEYWORD_ONLY]
        self._takes = ", ".join(p.name for p in parameters) or "no parameters"

    def bind(self, params: Any, connection: Connection | None = None) -> Arguments:
        """The arguments for *params*: an array, an object, or None. Raises `JSONRPCError`.

        An array of one object is treated as that object if its names fit: many blockchain clients
        wrap named parameters this way. *connection* is None for a POST.
        """
        args, named = self._bind(params)
        parameter = self._connection
        if parameter is None:
            return args, named
        if connection is None and self._needs_connection:
            raise JSONRPCError(METHOD_NOT_FOUND, f"{self.name} is not available by POST: use a WebSocket")
        if len(args) > self._before_connection and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            return (*args[: self._before_connection], connection, *args[self._before_connection :]), named
        return args, {**named, parameter.name: connection}

    def _bind(self, params: Any) -> Arguments:
        if isinstance(params, list):
            if not (len(params) == 1 and isinstance(params[0], dict) and self._fits(params[0])):
                return self._bind_list(params)
            params = params[0]
        return self._bind_names(params or {})

    def _bind_list(self, params: list[Any]) -> Arguments:
        if len(params) < self._required_positional or self._only_by_name:
            missing = [p.name for p in self._positional[len(params) : self._required_positional]]
            raise self._missing(missing + self._only_by_name)
        if len(params) > len(self._positional) and self._more is None:
            raise self._invalid(f"{len(params)} are too many")
        if not self._converts:
            return tuple(params), {}
        names = [p.name for p in self._positional]
        known = (self._convert(name, value) for name, value in zip(names, params, strict=False))
        rest = params[len(names) :]
        if self._more is not None:
            more = self._more.name
            rest = [self._convert(more, value, f"[{index}]") for index, value in enumerate(rest)]
        return (*known, *rest), {}

    def _bind_names(self, params: Mapping[str, Any]) -> Arguments:
        if self._only_by_position:
            raise self._invalid("give them by position, in an array")
        arguments: dict[str, Any] = {}
        for given, value in params.items():
            name = self._by_name.get(_normal(given))
            if name is not None:
                converted = self._convert(name, value)
            elif self._any_name is None or given in self._closed:
                raise self._invalid(f"unknown parameter {quoted(given)}")
            else:
                name, converted = given, self._convert(self._any_name.name, value, f"[{quoted(given)}]")
            if name in arguments:
                raise self._invalid(f"the parameter {quoted(name)} is given twice")
            arguments[name] = converted
        missing = [name for name in self._required if name not in arguments]
        if missing:
            raise self._missing(missing)
        return (), arguments

    def _fits(self, names: Mapping[str, Any]) -> bool:
        if self._only_by_position:
            return False
        known = {self._by_name.get(_normal(name)) for name in names}
        return (self._any_name is not None or None not in known) and known.issuperset(self._required)

    def _convert(self, name: str, value: Any, place: str = "") -> Any:
        """Convert the value at *place* in the parameter *name*; empty for the whole of it."""
        convert = self._converts.get(name)
        if convert is None:
            return value
        try:
            return convert(value)
        except WrongType as error:
            where = f"{name!r}{place}{error.place}"
            raise self._invalid(f"{where} must be {error.words}, not {error.found}") from None

    def _missing(self, names: Iterable[str]) -> JSONRPCError:
        return self._invalid(f"missing {', '.join(map(repr, names))}")

    def _invalid(self, reason: str) -> JSONRPCError:
        return JSONRPCError(INVALID_PARAMS, f"invalid params: {reason}; {self.name} takes {self._takes}")


def methods_of(service: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public methods of *service* with their Python names, inherited ones included."""
    for name in dir(type(service)):
        if name.startswith("_"):
            continue
        static = inspect.getattr_static(service, name)
        if isinstance(static, (staticmethod, classmethod, partialmethod)) or _is_method(static):
            yield name, getattr(service, name)


def _is_method(attribute: Any) -> bool:
    """Whether *attribute* is a function, or wraps one as `functools.cache` does."""
    is_bound = callable(attribute) and hasattr(type(attribute), "__get__")
    return is_bound and inspect.isfunction(inspect.unwrap(attribute))


def wire_names(name: str) -> set[str]:
    """A method's names on the wire: `propose_block`, `proposeBlock` and Go's `ProposeBlock`."""
    camel = re.sub(r"_+([a-zA-Z0-9])", lambda found: found.group(1).upper(), name)
    return {name, camel, camel[:1].upper() + camel[1:]}


def _normal(name: str) -> str:
    return name.replace("_", "").lower()


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of *function*, except those that use names not imported at run time."""
    hints, errors = type_hints(function)
    for parameter, error in errors.items():
        if parameter != "return" and "Connection" in error:
            raise TypeError(
                f"{name}: the annotation of {parameter} can't be evaluated ({error}), so vmsdk can't know "
                "whether it is the connection: import its names at run time, not under TYPE_CHECKING"
            ) from None
    return hints


def _is_connection(hint: Any) -> bool:
    return hint is Connection or Connection in typing.get_args(hint)


def _converters(
    name: str, hints: Mapping[str, Any], parameters: Iterable[inspect.Parameter]
) -> tuple[dict[str, Convert], list[inspect.Parameter]]:
    """Return converters of parameters by name, and the parameters that clients can't set."""
    converters: dict[str, Convert] = {}
    closed: list[inspect.Parameter] = []
    for parameter in parameters:
        hint = hints.get(parameter.name, Any)
        try:
            convert = converter(hint)
        except RecursionError:  # a `type` alias that contains itself
            continue
        except NotInJSON:
            if parameter.default is not parameter.empty:  # such as `clock: Callable = time.time`
                closed.append(parameter)
                continue
            raise TypeError(
                f"{name}: the parameter {parameter.name} is annotated {inspect.formatannotation(hint)}, "
                "which JSON can't represent: annotate what clients send (str, int, float, bool, list or "
                "dict), and convert it in the method"
            ) from None
        if convert is not anything:
            converters[parameter.name] = convert
    return converters, closed


def _open(parameters: list[inspect.Parameter], closed: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """The parameters that are not *closed*. Those after a closed one can't be given by position."""
    first = parameters.index(closed[0])
    after = [p for p in parameters[first:] if p not in closed]
    named = [p.replace(kind=p.KEYWORD_ONLY) for p in after if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [*parameters[:first], *named, *(p for p in after if p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD))]


def _receiver(function: Callable[..., Any]) -> str | None:
    """The name of a bound method's first parameter, usually `self`, which clients can't set."""
    if not inspect.ismethod(function):
        return None
    first = next(iter(signature(function.__func__).parameters.values()), None)
    return first.name if first is not None and first.kind is first.POSITIONAL_OR_KEYWORD else None
