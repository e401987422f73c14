"""JSON from untrusted clients: only what the standard allows, parsed in linear time."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DIGITS = 1_000
"""The most digits of an integer, since Python parses integers in quadratic time."""

# Each half of a surrogate pair begins with \ud8 to \udf.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer has more than {MAX_DIGITS} digits")
    return int(text)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=_no_constant)


def decode(body: bytes) -> Any:
    """The JSON value in *body*, which is UTF-8. Raises `ValueError` or `RecursionError`."""
    value = _DECODER.decode(body.decode("utf-8-sig"))
    if _SURROGATE.search(body):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # It could be neither stored nor hashed.
            raise ValueError("a string has half of a surrogate pair") from None
    return value


def depth(value: Any) -> int:
    """How deep arrays and objects are nested in *value*."""
    levels, level = 0, [value]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        levels += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return levels
