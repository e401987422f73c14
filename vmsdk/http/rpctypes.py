"""The annotations of JSON-RPC parameters: which JSON values fit, and what they become."""

from __future__ import annotations

import contextlib
import enum
import functools
import json
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vmsdk.errors import InvalidInput, Refused
from vmsdk.ids import ID, NodeID

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


class NotInJSON(Exception):
    """JSON can't carry values of an annotation."""


def quoted(name: str) -> str:
    """Quote the beginning of a name that a client chose."""
    return repr(name if len(name) <= _MAX_QUOTED else name[:_MAX_QUOTED] + "...")


def converter(annotation: Any) -> Convert | None:
    """Return what checks and converts a value for *annotation*; None if any value passes. Raises
    `NotInJSON`, but not for what can't be told.
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
        return _typed(kind, converter(arguments[-1]) if arguments else None)
    for base in (str, int, float, bytes):
        if issubclass(kind, base):
            return _made(f"a valid {kind.__name__}", base, kind)
    try:
        carried = any(issubclass(json_type, kind) for json_type in _JSON_TYPES)
    except TypeError:  # a TypedDict, a Protocol
        return None
    if not carried:
        raise NotInJSON
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
        array = _typed(list, converter(arguments[0]))
        return lambda value: tuple(array(value))
    check = _typed(list)
    members = [converter(argument) or _anything for argument in arguments]

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
    """Write the *values* that JSON can carry. Raises `NotInJSON` if there are none."""
    words = []
    for value in values:
        with contextlib.suppress(TypeError, ValueError):
            text = json.dumps(value)
            if json.loads(text) == value:  # a tuple becomes a list
                words.append(text)
    if not words:
        raise NotInJSON
    return " or ".join(dict.fromkeys(words))  # an alias has the value of another


def _same(expected: Any, value: Any) -> bool:
    """Whether the values are equal in JSON too, where true is not 1. An integer is a float too."""
    alike = _kind(expected) == _kind(value) or (isinstance(expected, float) and not isinstance(value, bool))
    return alike and bool(expected == value)


def _made(words: str, base: type, make: Callable[[Any], Any]) -> Convert:
    """Return what calls *make* with a value of *base*; *words* name its results."""
    check = converter(base) or _anything

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
        with contextlib.suppress(NotInJSON):
            members.append((annotation, converter(annotation) or _anything))
    if all(annotation is type(None) for annotation, _ in members):
        raise NotInJSON

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
