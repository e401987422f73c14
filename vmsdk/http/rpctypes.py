"""Checks and converts JSON values by the annotations of JSON-RPC parameters."""

from __future__ import annotations

import contextlib
import enum
import functools
import itertools
import json
import operator
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

from vmsdk.errors import InvalidInput, Refused
from vmsdk.ids import ID, NodeID

Convert = Callable[[Any], Any]

_WORDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_ABSTRACT: dict[type, type] = {
    **dict.fromkeys((Iterable, Collection, Sequence, MutableSequence), list),
    **dict.fromkeys((Mapping, MutableMapping), dict),
}

# What a class of the author's raises for a value that it doesn't accept. Other errors are bugs.
_REFUSALS = (ValueError, KeyError, ArithmeticError, Refused)

# The most characters of a name that an error quotes: clients choose names.
_MAX_QUOTED = 100

# The most values that an error lists.
_MAX_LISTED = 20

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,999})")


class WrongType(Exception):
    """A value does not fit its annotation: *words* describe what does, *found* the value."""

    def __init__(self, words: str, found: str, place: str = "") -> None:
        self.words = words
        self.found = found
        self.place = place
        """Where the value is in its parameter, such as `[3]`; empty for the whole of it."""
        super().__init__(words, found, place)

    def inside(self, key: object) -> WrongType:
        """The same error for the item *key* of an array or object."""
        shown = quoted(key) if isinstance(key, str) else key
        return WrongType(self.words, self.found, f"[{shown}]{self.place}")


class NotInJSON(Exception):
    """JSON can't represent values of an annotated type."""


def quoted(name: str) -> str:
    """Quote a name chosen by a client, cut to `_MAX_QUOTED` characters."""
    return repr(name if len(name) <= _MAX_QUOTED else name[:_MAX_QUOTED] + "...")


def anything(value: Any) -> Any:
    """The converter for annotations that any JSON value fits."""
    return value


def converter(annotation: Any) -> Convert:
    """Return what checks and converts values for *annotation*; `anything` also if it is unknown.
    Raises `NotInJSON`.
    """
    annotation = _plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _union(arguments)
    if origin is typing.Literal:
        return _choice(arguments)
    kind = origin or annotation
    if not isinstance(kind, type) or kind is Any:
        return anything
    if issubclass(kind, enum.Enum):
        return _enumeration(kind)
    if issubclass(kind, ID):
        return _made("the text of an ID", str, kind.from_string)
    if issubclass(kind, NodeID):
        return _made("the text of a node ID", str, kind.from_string)
    if kind is bytes:
        return _made("bytes in hexadecimal, as in 0x1234", str, _from_hex)
    if kind is tuple:
        return _tuple(arguments if arguments or annotation == tuple[()] else (Any, ...))
    kind = _ABSTRACT.get(kind, kind)
    if kind is list:
        return _array(*arguments)
    if kind is dict:
        return _object(*arguments)
    if kind in _WORDS:
        return _typed(kind)
    for base in (str, int, float, bytes):
        if issubclass(kind, base):
            return _made(f"a valid {kind.__name__}", base, kind)
    with contextlib.suppress(TypeError):  # a TypedDict, a Protocol
        if not any(issubclass(json_type, kind) for json_type in _WORDS):
            raise NotInJSON
    return anything


def _plain(annotation: Any) -> Any:
    """Unwrap `NewType`, `Annotated` and `type` aliases."""
    while True:
        origin = typing.get_origin(annotation)
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif origin is typing.Annotated:
            annotation = annotation.__origin__
        elif type(annotation).__name__ == "TypeAliasType":  # of Python 3.12 or typing_extensions
            annotation = _aliased(annotation)
        elif type(origin).__name__ == "TypeAliasType":
            annotation = _aliased(origin)[typing.get_args(annotation)]
        else:
            return annotation


def _aliased(alias: Any) -> Any:
    try:
        return alias.__value__
    except Exception:  # noqa: BLE001 - its names may not be imported at run time
        return Any


def _typed(kind: type) -> Convert:
    """Return a converter that accepts values of *kind*, one of the types in `_WORDS`."""
    accepted = (int, float) if kind is float else (kind,)

    def check(value: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise WrongType(_WORDS[kind], _kind(value))
        return value

    return check


def _array(annotation: Any = Any) -> Convert:
    check, member = _typed(list), converter(annotation)
    if member is anything:
        return check
    return lambda value: [_member(member, index, each) for index, each in enumerate(check(value))]


def _object(key_annotation: Any = Any, annotation: Any = Any) -> Convert:
    check, key_of, member = _typed(dict), _key(key_annotation), converter(annotation)
    if key_of is anything and member is anything:
        return check

    def convert(value: Any) -> Any:
        made = {key_of(key): _member(member, key, each) for key, each in check(value).items()}
        if len(made) < len(value):
            raise WrongType("an object without equal keys", "one with some")
        return made

    return convert


def _member(convert: Convert, key: object, value: Any) -> Any:
    try:
        return convert(value)
    except WrongType as error:
        raise error.inside(key) from None


def _key(annotation: Any) -> Convert:
    """Return a converter for the keys of an object, which are strings in JSON."""
    annotation = _plain(annotation)
    kind, convert = typing.get_origin(annotation) or annotation, converter(annotation)
    if kind is str or convert is anything:
        return anything
    is_float = isinstance(kind, type) and issubclass(kind, float) and not issubclass(kind, enum.Enum)
    if is_float or kind in (bool, type(None), tuple, list, dict, *_ABSTRACT):
        raise NotInJSON

    def from_text(key: str) -> Any:
        try:
            return convert(key)
        except WrongType as error:
            if _INTEGER.fullmatch(key):
                with contextlib.suppress(WrongType):
                    return convert(int(key))
            raise WrongType(f"an object with {error.words} for each key", f"with {_shown(key)}") from None

    return from_text


def _tuple(arguments: tuple[Any, ...]) -> Convert:
    if any(_is_unpacked(argument) for argument in arguments):
        arguments = (Any, ...)
    if arguments[1:] == (...,):
        array = _array(arguments[0])
        return lambda value: tuple(array(value))
    check, members = _typed(list), [converter(argument) for argument in arguments]

    def convert(value: Any) -> Any:
        if len(check(value)) != len(members):
            raise WrongType(f"an array of {len(members)}", f"one of {len(value)}")
        return tuple(map(_member, members, itertools.count(), value))

    return convert


def _is_unpacked(argument: Any) -> bool:
    """Whether it stands for any number of items, as `*tuple[int, ...]` does."""
    unpack = str(typing.get_origin(argument)).endswith(".Unpack")
    return unpack or getattr(argument, "__unpacked__", False) is True


def _from_hex(text: str) -> bytes:
    digits = text.removeprefix("0x")
    value = bytes.fromhex(digits)
    if 2 * len(value) != len(digits):  # Python skips white space
        raise ValueError("white space")
    return value


def _choice(values: Iterable[Any]) -> Convert:
    """Return a converter that accepts *values*, and the values of members of enums among them."""
    named = [(each.value if isinstance(each, enum.Enum) else each, each) for each in values]
    words = _listed(key for key, _ in named)

    def convert(value: Any) -> Any:
        for key, each in named:
            if _same(key, value):
                return each
        raise WrongType(words, _shown(value))

    return convert


def _enumeration(kind: type[enum.Enum]) -> Convert:
    """Return a converter that calls *kind* with the value, as it may have a `_missing_`."""
    values = [each.value for each in kind.__members__.values()]
    words = _listed(values)
    is_flag = issubclass(kind, enum.Flag)
    kinds = {_kind(value) for value in values}
    if is_flag:
        words += ", or a combination"
        bits = functools.reduce(operator.or_, values)

    def convert(value: Any) -> Any:
        # Python remembers each number that it makes into a flag, so only combinations of members
        # are accepted.
        if not (is_flag and isinstance(value, int) and value & ~bits):
            # `_missing_` may expect values of the same type as the members'.
            bugs = (TypeError, AttributeError) if _kind(value) not in kinds else ()
            with contextlib.suppress(*_REFUSALS, *bugs):
                member = kind(value)
                if member.value != value or _same(member.value, value):
                    return member
        raise WrongType(words, _shown(value))

    return convert


def _listed(values: Iterable[Any]) -> str:
    """The first *values* that JSON can represent, as text. Raises `NotInJSON` if there are none."""
    words = []
    for value in values:
        with contextlib.suppress(TypeError, ValueError):
            text = json.dumps(value)
            if json.loads(text) == value:  # a tuple becomes a list
                words.append(text)
    if not words:
        raise NotInJSON
    words = list(dict.fromkeys(words))  # an alias has the value of another
    return " or ".join(words if len(words) <= _MAX_LISTED else [*words[:_MAX_LISTED], "…"])


def _same(expected: Any, value: Any) -> bool:
    """Whether the values are equal as JSON, where true is not 1. An integer may equal a float."""
    alike = _kind(expected) == _kind(value) or (isinstance(expected, float) and not isinstance(value, bool))
    return alike and bool(expected == value)


def _made(words: str, base: type, make: Callable[[Any], Any]) -> Convert:
    """Return a converter that calls *make* with a value of *base*; *words* describe the result."""
    check = converter(base)

    def convert(value: Any) -> Any:
        try:
            return make(check(value))
        except WrongType as error:
            raise WrongType(words, error.found) from None
        except _REFUSALS as error:
            found = _shown(value)
            if isinstance(error, (InvalidInput, Refused)):  # only these texts are meant for clients
                found += f" ({error.rule if isinstance(error, InvalidInput) else error})"
            raise WrongType(words, found) from None

    return convert


def _union(annotations: Iterable[Any]) -> Convert:
    converts = []
    carried = False
    for annotation in annotations:
        with contextlib.suppress(NotInJSON):
            converts.append(converter(annotation))
            carried |= annotation is not type(None)
    if not carried:
        raise NotInJSON

    def check(value: Any) -> Any:
        errors = []
        for convert in converts:
            try:
                return convert(value)
            except WrongType as error:
                errors.append(error)
        # A converter that failed inside the value accepts its outer type, so its error says most.
        deep = next((error for error in errors if error.place), None)
        found = {error.found for error in errors} - {_kind(value)}
        shown = _shown(value) if len(found) > 1 else next(iter(found), _kind(value))
        raise deep or WrongType(" or ".join(error.words for error in errors), shown)

    return check


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    kind = next((kind for kind in type(value).__mro__ if kind in _WORDS), None)
    return type(value).__name__ if kind is None else _WORDS[kind]


def _shown(value: Any) -> str:
    """Describe a value: strings and numbers are shown themselves."""
    if isinstance(value, str):
        return quoted(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value)[:_MAX_QUOTED] if is_number else _kind(value)
