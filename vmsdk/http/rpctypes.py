"""The annotations of JSON-RPC parameters: which JSON values fit, and what they become."""

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

_JSON_TYPES: dict[type, tuple[Any, str]] = {
    str: ((str,), "a string"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    list: ((list,), "an array"),
    dict: ((dict,), "an object"),
    Iterable: ((list,), "an array"),
    Collection: ((list,), "an array"),
    Sequence: ((list,), "an array"),
    MutableSequence: ((list,), "an array"),
    Mapping: ((dict,), "an object"),
    MutableMapping: ((dict,), "an object"),
    type(None): ((type(None),), "null"),
}

# A class of the author's says with these that it doesn't take a value. Others are bugs.
_REFUSALS = (ValueError, KeyError, ArithmeticError, Refused)

# The most characters that an error quotes of a name: clients choose names.
_MAX_QUOTED = 100

# The most values that an error lists.
_MAX_LISTED = 20

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,999})")
_ANY_TYPE = (str, int, float, bool, list, dict, type(None))


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

    def inside(self, key: object) -> WrongType:
        """The same error, of the member *key* of an array or object."""
        shown = quoted(key) if isinstance(key, str) else key
        return WrongType(self.words, self.found, f"[{shown}]{self.place}")


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
        return _made("bytes in hexadecimal, as in 0x1234", str, _from_hex)
    if kind in _JSON_TYPES:
        if not arguments:
            return _typed(kind)
        convert = _object if dict in _JSON_TYPES[kind][0] else _array
        return convert(_typed(kind), *arguments)
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
    except Exception:  # noqa: BLE001 - it names what is not imported at run time
        return Any


def _anything(value: Any) -> Any:
    return value


def _typed(kind: type) -> Convert:
    """Return what takes a value of one of `_JSON_TYPES`."""
    accepted, words = _JSON_TYPES[kind]

    def check(value: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise WrongType(words, _kind(value))
        return value

    return check


def _array(check: Convert, annotation: Any) -> Convert:
    member = converter(annotation)
    if member is None:
        return check
    return lambda value: _each(itertools.repeat(member), check(value))


def _object(check: Convert, key_annotation: Any, annotation: Any = Any) -> Convert:
    key_of, member = _key(key_annotation), converter(annotation) or _anything

    def convert(value: Any) -> Any:
        members = check(value)
        made = {}
        for key, each in members.items():
            made_key = key if key_of is None else key_of(key)
            try:
                made[made_key] = member(each)
            except WrongType as error:
                raise error.inside(key) from None
        if len(made) < len(members):
            raise WrongType("an object without equal keys", "one with some")
        return made

    return convert


def _key(annotation: Any) -> Convert | None:
    """Return what converts the keys of an object, strings in JSON; None if they stay so."""
    annotation, accepted = _plain(annotation), _accepted(annotation)
    if annotation is str:
        return None
    if str not in accepted and accepted != (int,):
        raise NotInJSON
    convert = converter(annotation) or _anything

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
    check = _typed(list)
    if any(_is_unpacked(argument) for argument in arguments):
        return lambda value: tuple(check(value))
    if arguments[1:] == (...,):
        array = _array(check, arguments[0])
        return lambda value: tuple(array(value))
    members = [converter(argument) or _anything for argument in arguments]

    def convert(value: Any) -> Any:
        if len(check(value)) != len(members):
            raise WrongType(f"an array of {len(members)}", f"one of {len(value)}")
        return tuple(_each(members, value))

    return convert


def _is_unpacked(argument: Any) -> bool:
    """Whether it stands for any number of members, as `*tuple[int, ...]` does."""
    unpack = str(typing.get_origin(argument)).endswith(".Unpack")
    return unpack or getattr(argument, "__unpacked__", False) is True


def _each(converts: Iterable[Convert], values: list[Any]) -> list[Any]:
    made: list[Any] = []
    try:
        for convert, value in zip(converts, values, strict=False):
            made.append(convert(value))
    except WrongType as error:
        raise error.inside(len(made)) from None
    return made


def _from_hex(text: str) -> bytes:
    digits = text.removeprefix("0x")
    value = bytes.fromhex(digits)
    if 2 * len(value) != len(digits):  # Python skips white space
        raise ValueError("white space")
    return value


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
    kinds = {_kind(value) for value in values}
    if is_flag:
        words += ", or a combination"
        bits = functools.reduce(operator.or_, values)

    def convert(value: Any) -> Any:
        # Python keeps each number that it makes a flag of, so take only combinations of members.
        if not (is_flag and isinstance(value, int) and value & ~bits):
            # `_missing_` may expect a value of the same type as theirs.
            bugs = (TypeError, AttributeError) if _kind(value) not in kinds else ()
            with contextlib.suppress(*_REFUSALS, *bugs):
                member = kind(value)
                if member.value != value or _same(member.value, value):
                    return member
        raise WrongType(words, _shown(value))

    return convert


def _listed(values: Iterable[Any]) -> str:
    """Write the first *values* that JSON can carry. Raises `NotInJSON` if there are none."""
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
    converts = [convert for _, convert in members]
    of_type = {
        kind: [convert for annotation, convert in members if kind in _accepted(annotation)]
        for kind in _ANY_TYPE
    }

    def check(value: Any) -> Any:
        refusals = {}
        for convert in of_type.get(type(value), converts):
            try:
                return convert(value)
            except WrongType as error:
                refusals[convert] = error
        errors = [refusals.get(convert) or _refusal(convert, value) for convert in converts]
        # One that has looked inside was the right one.
        deep = next((error for error in errors if error.place), None)
        found = {error.found for error in errors} - {_kind(value)}
        shown = _shown(value) if len(found) > 1 else next(iter(found), _kind(value))
        raise deep or WrongType(" or ".join(error.words for error in errors), shown)

    return check


def _accepted(annotation: Any) -> tuple[type, ...]:
    """The types of the JSON values that may fit."""
    annotation = _plain(annotation)
    kind = typing.get_origin(annotation) or annotation
    if kind is tuple:
        return (list,)
    if not isinstance(kind, type) or issubclass(kind, enum.Enum):
        return _ANY_TYPE
    if issubclass(kind, (ID, NodeID, bytes)):
        return (str,)
    for base in (kind, str, int, float):
        if base in _JSON_TYPES and issubclass(kind, base):
            accepted: tuple[type, ...] = _JSON_TYPES[base][0]
            return accepted
    return _ANY_TYPE


def _refusal(convert: Convert, value: Any) -> WrongType:
    """The error for a value whose type *convert* doesn't take."""
    try:
        convert(value)
    except WrongType as error:
        return error
    raise AssertionError(f"{value!r} was taken")


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
