"""Request targets, parsed the way a Go node does it (`url.ParseRequestURI`)."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What Go leaves as it is in a path, besides letters, digits, and "-._~".
_PATH_SAFE = "$&+,/:;=@"


class MalformedURL(ValueError):
    """Not a request target. *reason* is Go's own text."""

    def __init__(self, raw: str, reason: str) -> None:
        self.raw = raw
        self.reason = reason
        super().__init__(f'parse "{raw}": {reason}')


@dataclass(frozen=True)
class Userinfo:
    """The part of an authority before the `@`."""

    username: str
    password: str
    password_set: bool


@dataclass(frozen=True)
class URL:
    """A parsed target. Text that is not UTF-8 once unescaped is kept as surrogates."""

    path: str
    """Unescaped."""
    raw_path: str = ""
    """As it came, if `path` would be escaped differently by Go; else empty."""
    raw_query: str = ""
    force_query: bool = False
    """The target ends with a bare `?`."""
    scheme: str = ""
    opaque: str = ""
    host: str = ""
    user: Userinfo | None = None

    @property
    def clean_path(self) -> str:
        """The path without `.`, `..` and repeated slashes; a node redirects to it if it differs."""
        clean = posixpath.normpath("/" + self.path.lstrip("/"))
        return clean + "/" if self.path.endswith("/") and clean != "/" else clean

    def location(self, path: str) -> str:
        """This target with another path, for a `Location` header."""
        query = f"?{self.raw_query}" if self.raw_query or self.force_query else ""
        return escape_path(path) + query


def escape_path(path: str) -> str:
    """*path* as Go escapes it."""
    return quote(path, safe=_PATH_SAFE, errors="surrogateescape")


def parse_request_uri(raw: str) -> URL:
    """*raw* as a request target: an absolute path or an absolute URI. Raises `MalformedURL`."""
    if _CONTROL.search(raw):
        raise MalformedURL(raw, "net/url: invalid control character in URL")
    if not raw:
        raise MalformedURL(raw, "empty url")
    if raw == "*":
        return URL(path="*")
    scheme, rest = _split_scheme(raw)
    force_query = rest.endswith("?") and rest.count("?") == 1
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return URL(path="", scheme=scheme, opaque=rest, raw_query=query, force_query=force_query)
        raise MalformedURL(raw, "invalid URI for request")
    user, host = None, ""
    if scheme and rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
        user, host = _split_authority(authority)
    path = _unescape(raw, rest)
    return URL(
        path=path,
        raw_path="" if escape_path(path) == rest else rest,
        raw_query=query,
        force_query=force_query,
        scheme=scheme,
        host=host,
        user=user,
    )


def _split_scheme(raw: str) -> tuple[str, str]:
    if raw.startswith(":"):
        raise MalformedURL(raw, "missing protocol scheme")
    match = _SCHEME.match(raw)
    return (match[1].lower(), raw[match.end() :]) if match else ("", raw)


def _split_authority(authority: str) -> tuple[Userinfo | None, str]:
    credentials, at, host = authority.rpartition("@")
    if not at:
        return None, host
    username, colon, password = credentials.partition(":")
    return Userinfo(_unescape(authority, username), _unescape(authority, password), bool(colon)), host


def _unescape(raw: str, text: str) -> str:
    bad = _BAD_ESCAPE.search(text)
    if bad:
        raise MalformedURL(raw, f'invalid URL escape "{bad[0]}"')
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
