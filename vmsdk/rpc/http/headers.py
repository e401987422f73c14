"""Headers as the node sends them, which is Go's form, and as ASGI has them.

On the wire a header is text, with all its values under one key in Go's spelling (`Content-Type`).
protobuf carries UTF-8 only: an app gets the text in UTF-8, as the client sent it, and a response's
bytes that are not UTF-8 count as latin-1.
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

# The node sets them, for its connection to the client (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(("Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"))
# The app's values are added to the node's.
_MERGED = frozenset(("Vary",))
_NAMES_CACHED = 1_024
# Clients choose the names: a cache of long ones would hold 1,024 times the node's 1 MiB.
_MAX_CACHED_NAME = 64


class InvalidHeader(ValueError):
    """An app's response header that HTTP does not allow."""

    def __init__(self, name: bytes, value: bytes, reason: str) -> None:
        super().__init__(f"the response header {name!r}: {value!r} {reason}")


def to_asgi(headers: Iterable[Any]) -> RawHeaders:
    """A request's headers, from messages with a key and values: names in lower case, one pair for
    each value.
    """
    return [(_lower(header.key), value.encode()) for header in headers for value in header.values]


def to_map(headers: Iterable[Any]) -> HeaderMap:
    """The headers that the node has set, by key."""
    return {header.key: list(header.values) for header in headers}


def from_asgi(headers: Iterable[tuple[bytes, bytes]]) -> HeaderMap:
    """An app's response headers by key, without those of the node. Raises `InvalidHeader`."""
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
    """Trailers in the form that Go's net/http finds among headers (`http.TrailerPrefix`)."""
    return {f"Trailer:{key}": values for key, values in trailers.items()}


def _lower(key: str) -> bytes:
    return _lower_short(key) if len(key) <= _MAX_CACHED_NAME else key.lower().encode()


@lru_cache(_NAMES_CACHED)
def _lower_short(key: str) -> bytes:
    return key.lower().encode()


def canonical(name: bytes) -> str | None:
    """A name in Go's spelling, `Content-Type`; None if HTTP does not allow it."""
    return _canonical_short(name) if len(name) <= _MAX_CACHED_NAME else _canonical(name)


@lru_cache(_NAMES_CACHED)
def _canonical_short(name: bytes) -> str | None:
    return _canonical(name)


def _canonical(name: bytes) -> str | None:
    if not _TOKEN.match(name):
        return None
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.decode("ascii").split("-"))


def _text(value: bytes) -> str:
    value = value.strip(b" \t")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
