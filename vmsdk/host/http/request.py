"""HTTP requests as Go passes them to a handler (`http.Request`)."""

from __future__ import annotations

import posixpath
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from vmsdk.host.http.connection import READ_BYTES
from vmsdk.host.http.header import Header, Line, first, from_lines

_ORIGIN = re.compile(r"https?://([^/?]*)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Characters that Go doesn't escape in a path, besides letters, digits and "-._~".
_PATH_SAFE = "$&+,/:;=@"


class MalformedURL(ValueError):
    """The text is not a request target. The message is the one Go uses."""

    def __init__(self, raw: str, reason: str) -> None:
        super().__init__(f'parse "{raw}": {reason}')


@dataclass(frozen=True)
class URL:
    """A parsed request target. Bytes of the path that are not UTF-8 become surrogates."""

    path: str
    """Unescaped."""
    raw_path: str = ""
    """The path as received, if Go would escape `path` differently; else empty."""
    raw_query: str = ""
    host: str = ""
    """Set for absolute targets only (`GET http://host/path`)."""

    @property
    def clean_path(self) -> str:
        """The path without `.`, `..` and repeated slashes. A node redirects to it."""
        clean = posixpath.normpath("/" + self.path.lstrip("/"))
        return clean + "/" if self.path.endswith("/") and clean != "/" else clean


def escape_path(path: str) -> str:
    """Escape *path* the way Go does."""
    return quote(path, safe=_PATH_SAFE, errors="surrogateescape")


def parse_target(raw: str) -> URL:
    """Parse a request target: an absolute path or an absolute URL. Raises `MalformedURL`."""
    if _CONTROL.search(raw):
        raise MalformedURL(raw, "net/url: invalid control character in URL")
    origin = _ORIGIN.match(raw)
    rest = raw[origin.end() :] if origin else raw
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        raise MalformedURL(raw, "invalid URI for request" if raw else "empty url")
    bad = _BAD_ESCAPE.search(rest)
    if bad:
        raise MalformedURL(raw, f'invalid URL escape "{bad[0]}"')
    path = unquote_to_bytes(rest.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    raw_path = "" if escape_path(path) == rest else rest
    return URL(path, raw_path, query, origin[1] if origin else "")


class Body(ABC):
    """The body of a request, which the client sends as it is read."""

    @abstractmethod
    async def read(self, limit: int) -> bytes:
        """Read up to *limit* bytes once there are any; empty at the end. Raises `IOFailed`."""

    async def read_all(self, limit: int | None = None) -> bytes:
        """Read to the end, or until there are more than *limit* bytes. Raises `IOFailed`."""
        data = bytearray()
        while chunk := await self.read(READ_BYTES):
            data += chunk
            if limit is not None and len(data) > limit:
                break
        return bytes(data)


@dataclass
class Request:
    """A request. The fields mean what Go's do."""

    method: str
    target: str
    """The raw request target (`RequestURI`)."""
    url: URL
    major: int
    """HTTP's major version: 1 or 2."""
    minor: int
    header: Header
    """Without `Host`, `Transfer-Encoding` and `Trailer`, as in Go."""
    host: str
    remote_address: str
    """host:port."""
    content_length: int
    """In bytes; -1 if unknown."""
    is_chunked: bool
    body: Body

    @property
    def version(self) -> str:
        """`HTTP/1.1` or `HTTP/2.0`."""
        return f"HTTP/{self.major}.{self.minor}"


def make_request(
    method: str,
    target: str,
    version: tuple[int, int],
    lines: Iterable[Line],
    remote_address: str,
    body: Body,
    *,
    authority: str = "",
    has_unknown_length: bool = False,
) -> Request:
    """Make a request from the parts common to HTTP/1 and HTTP/2. Raises `MalformedURL`."""
    url = parse_target(target)
    header = from_lines(lines)
    host = authority or header.get("Host", [""])[0]
    is_chunked = "chunked" in first(header, "Transfer-Encoding").lower()
    length = first(header, "Content-Length")
    for name in ("Host", "Transfer-Encoding", "Trailer"):
        header.pop(name, None)
    is_unknown = is_chunked or (has_unknown_length and not length)
    return Request(
        method,
        target,
        url,
        *version,
        header,
        url.host or host,
        remote_address,
        -1 if is_unknown else int(length or 0),
        is_chunked,
        body,
    )
