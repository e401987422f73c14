"""One method of a JSON-RPC service: its names on the wire, its parameters, its errors."""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    Sequence: ((list,), "an array"),
    Mapping: ((dict,), "an object"),
    type(None): ((type(None),), "null"),
}


_PARSED = (ID, NodeID, bytes, Any)

# The most characters that an error quotes of a name: clients choose names.
_MAX_QUOTED = 100


class WrongType(Exception):
    """A value does not have the type of its annotation: *words* say which type that is, *found*
    what came instead.
    """

    def __init__(self, words: str, found: str, place: str = "") -> None:
        self.words = words
        self.found = found
        self.place = place
        """Where the value is in its parameter, such as `[3]`; empty for the whole of it."""
        super().__init__(f"{place or 'the value'} must be {words}, not {found}")


class RPCMethod:
    """A function and its signature. Raises `TypeError` for a function that JSON-RPC can't call."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        """Its name in errors and in the log."""
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError as error:  # a method without parameters, or a function in C
            raise TypeError(f"{name}: {error}: does it lack `self`?") from None
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
        self._more = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._any_name = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._receiver = _receiver(function)
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
        self._converts = _converters(name, hints, parameters)
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
            elif self._any_name is None or given == self._receiver:
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
        """Convert what is at *place* in the parameter *name*; empty for the whole of it."""
        convert = self._converts.get(name)
        if convert is None:
            return value
        try:
            return convert(value)
        except WrongType as error:
            where = f"{name!r}{place}{error.place}"
            raise self._invalid(f"{where} must be {error.words}, not {error.found}") from None
        except InvalidInput as error:
            raise self._invalid(f"{name!r}{place} is not an ID: {error}") from None

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
                "and convert it in the method"
            )
        convert = _converter(hint)
        if convert is not None:
            converters[parameter.name] = convert
    return converters


def _is_in_json(annotation: Any) -> bool:
    """Whether JSON may carry values of the type. Assume so of what can't be told."""
    annotation = _plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return any(_is_in_json(member) for member in arguments if member is not type(None))
    kind = origin or annotation
    if not isinstance(kind, type) or kind in _PARSED or isinstance(kind, enum.EnumMeta):
        return True
    if kind in _JSON_TYPES:
        return not arguments or _is_in_json(arguments[-1])
    try:
        return any(issubclass(json_type, kind) for json_type in _JSON_TYPES)
    except TypeError:  # a TypedDict, a Protocol
        return True


def _plain(annotation: Any) -> Any:
    """Unwrap a `NewType`."""
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    return annotation


def _receiver(function: Callable[..., Any]) -> str | None:
    """The name of a bound method's first parameter, usually `self`, which clients can't set."""
    if not inspect.ismethod(function):
        return None
    first = next(iter(inspect.signature(function.__func__).parameters.values()), None)
    return first.name if first is not None and first.kind is first.POSITIONAL_OR_KEYWORD else None


def _converter(annotation: Any) -> Convert | None:
    """Return what checks a value for *annotation*; None if any value passes."""
    annotation = _plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _union([_converter(member) for member in arguments if _is_in_json(member)])
    if origin is typing.Literal:
        return _choice(arguments)
    if origin is None and isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return None if issubclass(annotation, enum.Flag) else _choice(annotation)
    kind = origin if isinstance(origin, type) else annotation
    if kind in (ID, NodeID):
        return _identifier(kind)
    if kind is bytes:
        return _hexadecimal
    try:
        accepted, words = _JSON_TYPES[kind]
    except (KeyError, TypeError):
        return None

    def check(value: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise WrongType(words, _kind(value))
        return value

    # The keys of an object are always strings.
    member = _converter(arguments[-1]) if arguments else None
    if member is None:
        return check
    return _array(check, member) if list in accepted else _object(check, member)


def _array(check: Convert, member: Convert) -> Convert:
    def convert(value: Any) -> Any:
        return [_inside(f"[{index}]", member, each) for index, each in enumerate(check(value))]

    return convert


def _object(check: Convert, member: Convert) -> Convert:
    def convert(value: Any) -> Any:
        return {key: _inside(f"[{quoted(key)}]", member, each) for key, each in check(value).items()}

    return convert


def _inside(place: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except WrongType as error:
        raise WrongType(error.words, error.found, place + error.place) from None


def _choice(values: Iterable[Any]) -> Convert | None:
    """Return what accepts *values*, enum's members by theirs; None if JSON can't hold one."""
    named = [(each.value if isinstance(each, enum.Enum) else each, each) for each in values]
    if not all(isinstance(key, (str, int, float, type(None))) for key, _ in named):
        return None
    by_type = {(type(key), key): value for key, value in named}  # true is not 1
    words = " or ".join(json.dumps(key) for key, _ in named)

    def convert(value: Any) -> Any:
        try:
            return by_type[type(value), value]
        except (KeyError, TypeError):  # an array can't be looked up
            raise WrongType(words, _shown(value)) from None

    return convert


def _hexadecimal(value: Any) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise WrongType("bytes in hexadecimal, as in 0x1234", _shown(value)) from None


def _union(members: list[Convert | None]) -> Convert | None:
    known = [member for member in members if member is not None]
    if len(known) < len(members):
        return None

    def check(value: Any) -> Any:
        errors = []
        for member in known:
            try:
                return member(value)
            except WrongType as error:
                errors.append(error)
        # One that has looked inside was the right one.
        deep = next((error for error in errors if error.place), None)
        raise deep or WrongType(" or ".join(error.words for error in errors), _kind(value))

    return check


def _identifier(kind: type[ID] | type[NodeID]) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise WrongType("the text of an ID", _kind(value))
        return kind.from_string(value)

    return convert


def _kind(value: Any) -> str:
    for kind in (bool, str, int, float, list, dict, type(None)):
        if isinstance(value, kind):
            return _JSON_TYPES[kind][1] if kind is not bool else str(value).lower()
    return type(value).__name__


def _shown(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else _kind(value)
