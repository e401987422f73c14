"""One method of a JSON-RPC service: its names on the wire, its parameters, its errors."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vmsdk.errors import InvalidInput
from vmsdk.http.connection import Connection
from vmsdk.http.rpcmessage import INVALID_PARAMS, METHOD_NOT_FOUND, JSONRPCError
from vmsdk.ids import ID, NodeID

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Convert = Callable[[Any], Any]

_JSON_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    list: ((list,), "an array"),
    dict: ((dict,), "an object"),
    type(None): ((type(None),), "null"),
}

# The most characters that an error quotes of a name: clients choose names.
_MAX_QUOTED = 100


class WrongType(Exception):
    """A parameter does not have the type of its annotation; the text says which type that is."""


class RPCMethod:
    """A function and its signature. Raises `TypeError` for a function that JSON-RPC can't call."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        """Its name in errors and in the log."""
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        parameters = list(inspect.signature(function).parameters.values())
        hints = _hints(name, function)
        self._connection = next((p for p in parameters if _is_connection(hints.get(p.name))), None)
        if self._connection is not None:
            self._needs_connection = hints[self._connection.name] is Connection
            self._before_connection = parameters.index(self._connection)
            parameters.remove(self._connection)
            if self._connection.kind not in (
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                inspect.Parameter.KEYWORD_ONLY,
            ):
                raise TypeError(f"{name}: its parameter {self._connection.name} must be an ordinary one")
        self._positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._takes_more = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self._takes_any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
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
        self._converts = _converters(name, hints, [*self._positional, *named])
        self._takes = ", ".join(p.name for p in parameters) or "no parameters"

    def bind(self, params: Any, connection: Connection | None = None) -> Arguments:
        """The arguments for *params*: an array, an object, or None. Raises `JSONRPCError`.

        An array of one object counts as that object if its names fit: many blockchain clients wrap
        named parameters this way. *connection* is None for a POST.
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
        if not params:
            return self._bind_list(params) if isinstance(params, list) else self._bind_names({})
        if isinstance(params, dict):
            return self._bind_names(params)
        if len(params) == 1 and isinstance(params[0], dict) and self._fits(params[0]):
            return self._bind_names(params[0])
        return self._bind_list(params)

    def _bind_list(self, params: list[Any]) -> Arguments:
        if len(params) < self._required_positional or self._only_by_name:
            missing = [p.name for p in self._positional[len(params) : self._required_positional]]
            raise self._missing(missing + self._only_by_name)
        if len(params) > len(self._positional) and not self._takes_more:
            raise self._invalid(f"{len(params)} are too many")
        if not self._converts:
            return tuple(params), {}
        names = [p.name for p in self._positional]
        known = (self._convert(name, value) for name, value in zip(names, params, strict=False))
        return (*known, *params[len(names) :]), {}

    def _bind_names(self, params: Mapping[str, Any]) -> Arguments:
        if self._only_by_position:
            raise self._invalid("give them by position, in an array")
        arguments: dict[str, Any] = {}
        for given, value in params.items():
            name = self._by_name.get(_normal(given))
            if name is None:
                if not self._takes_any_name:
                    raise self._invalid(f"unknown parameter {quoted(given)}")
                name = given
            if name in arguments:
                raise self._invalid(f"the parameter {quoted(name)} is given twice")
            arguments[name] = self._convert(name, value)
        missing = [name for name in self._required if name not in arguments]
        if missing:
            raise self._missing(missing)
        return (), arguments

    def _fits(self, names: Mapping[str, Any]) -> bool:
        if self._only_by_position:
            return False
        known = {self._by_name.get(_normal(name)) for name in names}
        return (self._takes_any_name or None not in known) and known.issuperset(self._required)

    def _convert(self, name: str, value: Any) -> Any:
        convert = self._converts.get(name)
        if convert is None:
            return value
        try:
            return convert(value)
        except WrongType as error:
            raise self._invalid(f"{name!r} must be {error}, not {_kind(value)}") from None
        except InvalidInput as error:
            raise self._invalid(f"{name!r} is not an ID: {error}") from None

    def _missing(self, names: Iterable[str]) -> JSONRPCError:
        return self._invalid(f"missing {', '.join(map(repr, names))}")

    def _invalid(self, reason: str) -> JSONRPCError:
        return JSONRPCError(INVALID_PARAMS, f"invalid params: {reason}; {self.name} takes {self._takes}")


def quoted(name: str) -> str:
    """Quote the beginning of a name that a client chose."""
    return repr(name if len(name) <= _MAX_QUOTED else name[:_MAX_QUOTED] + "...")


def methods_of(service: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public methods of *service* with their Python names, inherited ones included."""
    for name in dir(type(service)):
        if name.startswith("_"):
            continue
        static = inspect.getattr_static(service, name)
        if isinstance(static, (staticmethod, classmethod)) or inspect.isfunction(static):
            yield name, getattr(service, name)


def wire_names(name: str) -> set[str]:
    """A method's names on the wire: `propose_block`, `proposeBlock` and Go's `ProposeBlock`."""
    camel = re.sub(r"_+([a-zA-Z0-9])", lambda found: found.group(1).upper(), name)
    return {name, camel, camel[:1].upper() + camel[1:]}


def _normal(name: str) -> str:
    return name.replace("_", "").lower()


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of *function*; none if one names what is not imported at run time."""
    try:
        return typing.get_type_hints(function)
    except Exception as error:  # noqa: BLE001 - evaluating an annotation may raise anything
        if any("Connection" in str(each) for each in inspect.get_annotations(function).values()):
            raise TypeError(
                f"{name}: its annotations can't be evaluated ({error}), so vmsdk can't see which parameter "
                "is the connection: import what they name at run time, not below TYPE_CHECKING"
            ) from None
        return {}


def _is_connection(hint: Any) -> bool:
    return hint is Connection or Connection in typing.get_args(hint)


def _converters(
    name: str, hints: Mapping[str, Any], parameters: Iterable[inspect.Parameter]
) -> dict[str, Convert]:
    converters: dict[str, Convert] = {}
    for parameter in parameters:
        hint = hints.get(parameter.name, Any)
        if not _is_in_json(hint):
            raise TypeError(
                f"{name}: the parameter {parameter.name} is annotated {inspect.formatannotation(hint)}, "
                "which JSON can't carry: annotate what clients send (str, int, float, bool, list or dict), "
                "and convert it in the method" + (", for example with bytes.fromhex" if hint is bytes else "")
            )
        convert = _converter(hint)
        if convert is not None:
            converters[parameter.name] = convert
    return converters


def _is_in_json(annotation: Any) -> bool:
    """Whether some value that JSON can carry is of the type. Assume so of what can't be told."""
    annotation = _plain(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return any(_is_in_json(member) for member in members)
    kind = origin or annotation
    if not isinstance(kind, type) or kind in (Any, ID, NodeID):
        return True
    try:
        return any(issubclass(json_type, kind) for json_type in _JSON_TYPES)
    except TypeError:  # a TypedDict, a Protocol
        return True


def _plain(annotation: Any) -> Any:
    """Unwrap a `NewType`."""
    while hasattr(annotation, "__supertype__"):
        annotation = annotation.__supertype__
    return annotation


def _converter(annotation: Any) -> Convert | None:
    """Return what checks a value for *annotation*; None if any value passes."""
    annotation = _plain(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        members = [member for member in typing.get_args(annotation) if _is_in_json(member)]
        return _union([_converter(member) for member in members])
    if origin is typing.Literal:
        return _one_of(typing.get_args(annotation))
    kind = origin if isinstance(origin, type) else annotation
    if kind in (ID, NodeID):
        return _identifier(kind)
    try:
        accepted, words = _JSON_TYPES[kind]
    except (KeyError, TypeError):
        return None

    def check(value: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise WrongType(words)
        return value

    return check


def _union(members: list[Convert | None]) -> Convert | None:
    known = [member for member in members if member is not None]
    if len(known) < len(members):
        return None

    def check(value: Any) -> Any:
        words = []
        for member in known:
            try:
                return member(value)
            except WrongType as error:
                words.append(str(error))
        raise WrongType(" or ".join(words))

    return check


def _one_of(choices: tuple[Any, ...]) -> Convert:
    def check(value: Any) -> Any:
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise WrongType("one of " + ", ".join(map(repr, choices)))
        return value

    return check


def _identifier(kind: type[ID] | type[NodeID]) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise WrongType("the text of an ID")
        return kind.from_string(value)

    return convert


def _kind(value: Any) -> str:
    for kind in (bool, str, int, float, list, dict, type(None)):
        if isinstance(value, kind):
            return _JSON_TYPES[kind][1] if kind is not bool else str(value).lower()
    return type(value).__name__
