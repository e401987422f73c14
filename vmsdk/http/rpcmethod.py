"""One method of a JSON-RPC service: its names on the wire, its parameters, its errors."""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import json
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vmsdk.errors import InvalidInput, Refused
from vmsdk.http.connection import Connection
from vmsdk.http.rpcmessage import INVALID_PARAMS, METHOD_NOT_FOUND, JSONRPCError
from vmsdk.ids import ID, NodeID

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Convert = Callable[[Any], Any]

_JSON_TYPES: dict[type, tuple[Any, str]] = {
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

# A class of the author's says with these that it doesn't take a value.
_REFUSALS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, Refused)

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


class _NotInJSON(Exception):
    """JSON can't carry values of an annotation."""


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
        try:
            convert = _converter(hint)
        except _NotInJSON:
            raise TypeError(
                f"{name}: the parameter {parameter.name} is annotated {inspect.formatannotation(hint)}, "
                "which JSON can't carry: annotate what clients send (str, int, float, bool, list or dict), "
                "and convert it in the method"
            ) from None
        if convert is not None:
            converters[parameter.name] = convert
    return converters


def _receiver(function: Callable[..., Any]) -> str | None:
    """The name of a bound method's first parameter, usually `self`, which clients can't set."""
    if not inspect.ismethod(function):
        return None
    first = next(iter(inspect.signature(function.__func__).parameters.values()), None)
    return first.name if first is not None and first.kind is first.POSITIONAL_OR_KEYWORD else None


def _converter(annotation: Any) -> Convert | None:
    """Return what checks and converts a value for *annotation*; None if any value passes. Raises
    `_NotInJSON`, but not for what can't be told.
    """
    annotation = _plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _union(arguments)
    if origin is typing.Literal:
        return _choice(arguments)
    kind = origin or annotation
    if not isinstance(kind, type) or kind is Any:
        return None
    if issubclass(kind, enum.Enum):
        return _enumeration(kind)
    if issubclass(kind, ID):
        return _made("the text of an ID", str, kind.from_string)
    if issubclass(kind, NodeID):
        return _made("the text of a node ID", str, kind.from_string)
    if kind is tuple:
        return _tuple(arguments if arguments or annotation == tuple[()] else (Any, ...))
    if kind is bytes:
        words = "bytes in hexadecimal, as in 0x1234"
        return _made(words, str, lambda text: bytes.fromhex(text.removeprefix("0x")))
    if kind in _JSON_TYPES:
        # The keys of an object are always strings.
        return _typed(kind, _converter(arguments[-1]) if arguments else None)
    for base in (str, int, float, bytes):
        if issubclass(kind, base):
            return _made(f"a valid {kind.__name__}", base, kind)
    try:
        carried = any(issubclass(json_type, kind) for json_type in _JSON_TYPES)
    except TypeError:  # a TypedDict, a Protocol
        return None
    if not carried:
        raise _NotInJSON
    return None


def _plain(annotation: Any) -> Any:
    """Unwrap `NewType` and `Annotated`."""
    while True:
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif typing.get_origin(annotation) is typing.Annotated:
            annotation = annotation.__origin__
        else:
            return annotation


def _anything(value: Any) -> Any:
    return value


def _typed(kind: type, member: Convert | None = None) -> Convert:
    """Return what takes a value of one of `_JSON_TYPES`, and converts the members of an array or
    object.
    """
    accepted, words = _JSON_TYPES[kind]

    def check(value: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise WrongType(words, _kind(value))
        if member is None:
            return value
        if list in accepted:
            return [_inside(f"[{index}]", member, each) for index, each in enumerate(value)]
        return {key: _inside(f"[{quoted(key)}]", member, each) for key, each in value.items()}

    return check


def _tuple(arguments: tuple[Any, ...]) -> Convert:
    if arguments[1:] == (...,):
        array = _typed(list, _converter(arguments[0]))
        return lambda value: tuple(array(value))
    check = _typed(list)
    members = [_converter(argument) or _anything for argument in arguments]

    def convert(value: Any) -> Any:
        if len(check(value)) != len(members):
            raise WrongType(f"an array of {len(members)}", f"one of {len(value)}")
        pairs = zip(members, value, strict=True)
        return tuple(_inside(f"[{index}]", member, each) for index, (member, each) in enumerate(pairs))

    return convert


def _inside(place: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except WrongType as error:
        raise WrongType(error.words, error.found, place + error.place) from None


def _choice(values: Iterable[Any]) -> Convert:
    """Return what takes one of *values*, and members of enums by theirs."""
    named = [(each.value if isinstance(each, enum.Enum) else each, each) for each in values]
    words = _listed(key for key, _ in named)

    def convert(value: Any) -> Any:
        for key, each in named:
            if _same(key, value):
                return each
        raise WrongType(words, _shown(value))

    return convert


def _enumeration(kind: type[enum.Enum]) -> Convert:
    """Return what calls *kind* with the value, as it may have a `_missing_`."""
    values = [each.value for each in kind.__members__.values()]
    words = _listed(values)
    is_flag = issubclass(kind, enum.Flag)
    if is_flag:
        words += ", or a combination"
        bits = functools.reduce(operator.or_, values)

    def convert(value: Any) -> Any:
        # Python keeps each number that it makes a flag of, so take only combinations of members.
        if not (is_flag and isinstance(value, int) and value & ~bits):
            with contextlib.suppress(*_REFUSALS):
                member = kind(value)
                if member.value != value or _same(member.value, value):
                    return member
        raise WrongType(words, _shown(value))

    return convert


def _listed(values: Iterable[Any]) -> str:
    """Write the *values* that JSON can carry. Raises `_NotInJSON` if there are none."""
    words = []
    for value in values:
        with contextlib.suppress(TypeError, ValueError):
            text = json.dumps(value)
            if json.loads(text) == value:  # a tuple becomes a list
                words.append(text)
    if not words:
        raise _NotInJSON
    return " or ".join(dict.fromkeys(words))  # an alias has the value of another


def _same(expected: Any, value: Any) -> bool:
    """Whether the values are equal in JSON too, where true is not 1. An integer is a float too."""
    alike = _kind(expected) == _kind(value) or (isinstance(expected, float) and not isinstance(value, bool))
    return alike and bool(expected == value)


def _made(words: str, base: type, make: Callable[[Any], Any]) -> Convert:
    """Return what calls *make* with a value of *base*; *words* name its results."""
    check = _converter(base) or _anything

    def convert(value: Any) -> Any:
        try:
            return make(check(value))
        except WrongType as error:
            raise WrongType(words, error.found) from None
        except _REFUSALS as error:
            found = _shown(value)
            if isinstance(error, (InvalidInput, Refused)):  # only these texts are for clients
                found += f" ({error.rule if isinstance(error, InvalidInput) else error})"
            raise WrongType(words, found) from None

    return convert


def _union(annotations: Iterable[Any]) -> Convert:
    members = []
    for annotation in annotations:
        with contextlib.suppress(_NotInJSON):
            members.append((annotation, _converter(annotation) or _anything))
    if all(annotation is type(None) for annotation, _ in members):
        raise _NotInJSON

    def check(value: Any) -> Any:
        errors = []
        for _, convert in members:
            try:
                return convert(value)
            except WrongType as error:
                errors.append(error)
        # One that has looked inside was the right one.
        deep = next((error for error in errors if error.place), None)
        found = {error.found for error in errors} - {_kind(value)}
        shown = _shown(value) if len(found) > 1 else next(iter(found), _kind(value))
        raise deep or WrongType(" or ".join(error.words for error in errors), shown)

    return check


def _kind(value: Any) -> str:
    for kind in (bool, str, int, float, list, dict, type(None)):
        if isinstance(value, kind):
            return _JSON_TYPES[kind][1] if kind is not bool else str(value).lower()
    return type(value).__name__


def _shown(value: Any) -> str:
    """Describe a value: a text and a number by themselves."""
    if isinstance(value, str):
        return quoted(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value)[:_MAX_QUOTED] if is_number else _kind(value)
