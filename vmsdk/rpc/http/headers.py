"""Converts headers between Go's form, on the wire, and ASGI's.

On the wire a header is text, with all its values under one key in Go's spelling (`Content-Type`).
Protobuf strings are UTF-8: an app gets the text in UTF-8, as the client sent it, and a response's
bytes that are not UTF-8 are read as latin-1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

HeaderT = TypeVar("HeaderT")
RawHeaders = list[tuple[bytes, bytes]]
HeaderMap = dict[str, list[str]]
"""Go's `http.Header`: values by canonical key."""

# RFC 9110, section 5.6.2.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
# RFC 9110, section 5.5: no CR, LF or NUL, which would let a value forge further headers.
_FORBIDDEN_IN_VALUE = re.compile(rb"[\r\n\0]")

# The node sets these for its connection to the client (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(("Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"))
# Of these, the app's values are added to the node's.
_MERGED = frozenset(("Vary",))
_NAMES_CACHED = 1_024
# Apps may copy names from requests: a cache of long ones would hold 1,024 times the node's 1 MiB.
_MAX_CACHED_NAME = 64


class InvalidHeader(ValueError):
    """An app's response header that HTTP does not allow."""

    def __init__(self, name: bytes, value: bytes, reason: str) -> None:
        super().__init__(f"the response header {name!r}: {value!r} {reason}")


def to_asgi(headers: Iterable[Any]) -> RawHeaders:
    """The headers of a request, from messages with a key and values: names in lower case, a pair
    for each value.
    """
    return [(header.key.lower().encode(), value.encode()) for header in headers for value in header.values]


def to_map(headers: Iterable[Any]) -> HeaderMap:
    """The headers that the node has set, by key."""
    return {header.key: list(header.values) for header in headers}


def from_asgi(headers: Iterable[tuple[bytes, bytes]]) -> HeaderMap:
    """An app's response headers by key, without the node's own. Raises `InvalidHeader`."""
    found: HeaderMap = {}
    for name, value in headers:
        key = canonical(name)
        if key is None:
            raise InvalidHeader(name, value, "has a name that HTTP does not allow")
        if _FORBIDDEN_IN_VALUE.search(value):
            raise InvalidHeader(name, value, "has a line break or a NUL in its value")
        if key in _HOP_BY_HOP or (key == "Connection" and value.lower() != b"close"):
            continue
        found.setdefault(key, []).append(_text(value))
    return found


def merge(node: Mapping[str, list[str]], app: Mapping[str, list[str]]) -> HeaderMap:
    """The node's headers, replaced by the app's where both have the name."""
    merged = {**node, **app}
    for key in _MERGED & node.keys() & app.keys():
        merged[key] = [*node[key], *app[key]]
    return merged


def to_wire(headers: Mapping[str, list[str]], kind: Callable[..., HeaderT]) -> list[HeaderT]:
    """The headers as messages of the class *kind*."""
    return [kind(key=key, values=values) for key, values in headers.items()]


def trailer_keys(trailers: Mapping[str, list[str]]) -> HeaderMap:
    """Trailers as Go's net/http expects them among the headers (`http.TrailerPrefix`)."""
    return {f"Trailer:{key}": values for key, values in trailers.items()}


def canonical(name: bytes) -> str | None:
    """A name in Go's spelling, `Content-Type`; None if HTTP does not allow it."""
    return _canonical_cached(name) if len(name) <= _MAX_CACHED_NAME else _canonical(name)


def _canonical(name: bytes) -> str | None:
    if not _TOKEN.match(name):
        return None
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.decode("ascii").split("-"))


_canonical_cached = lru_cache(_NAMES_CACHED)(_canonical)


def _text(value: bytes) -> str:
    value = value.strip(b" \t")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
