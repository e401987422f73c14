"""A request's target: its path and its query."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from vmsdk.errors import VMError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_BAD_CHARACTER = re.compile(r"[\x00-\x20\x7f]")


class InvalidTarget(VMError, ValueError):
    """A request's target is not a URL."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"the request target {target[:200]!r} {reason}")


class Target(NamedTuple):
    """A target in ASGI's form."""

    path: str
    """Percent-decoded."""
    raw_path: bytes
    """As the client sent it, without the query."""
    query_string: bytes
    """As the client sent it, without the question mark."""


def parse(target: str) -> Target:
    """The parts of *target*: a path with or without a query, an absolute URL, or `*`. Raises
    `InvalidTarget`.
    """
    if _BAD_CHARACTER.search(target):
        raise InvalidTarget(target, "has a space or a control character")
    if not target.startswith("/"):
        if target == "*":
            return Target("*", b"*", b"")
        absolute = _SCHEME.match(target)
        if absolute is None:
            raise InvalidTarget(target, 'does not start with "/" and is not an absolute URL')
        target = target[absolute.end() :]
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith("/"):
        path = "/" + path
    if "%" not in path:
        return Target(path, path.encode(), query.encode())
    if _BAD_ESCAPE.search(path):
        raise InvalidTarget(target, "has a % without two hexadecimal digits after it")
    return Target(unquote(path), path.encode(), query.encode())
