"""What an app has answered so far, and the rules that its `send` must keep."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from vmsdk.http.asgi import Message
from vmsdk.rpc.http.headers import HeaderMap, from_asgi

# RFC 9110, section 6.4.1: these have no body.
_NO_BODY = frozenset((204, 205, 304))


class Phase(enum.Enum):
    """How far a response has come."""

    NOTHING = enum.auto()
    STARTED = enum.auto()
    TRAILERS = enum.auto()
    COMPLETE = enum.auto()


class InvalidResponse(RuntimeError):
    """An app broke a rule of ASGI or of HTTP in its response; the text says which."""


class Response:
    """One response. Each method takes one event of the app and raises `InvalidResponse`."""

    def __init__(self, method: str) -> None:
        self._is_head = method == "HEAD"
        self.phase = Phase.NOTHING
        self.status = 0
        self.headers: HeaderMap = {}
        """The app's own headers."""
        self.length: int | None = None
        """The `Content-Length` that the app gave."""
        self.trailers: HeaderMap = {}
        self._written = 0
        self._has_trailers = False

    @property
    def has_body(self) -> bool:
        """Whether HTTP lets this response have one: not for HEAD, 204, 205 and 304."""
        return not self._is_head and self.status not in _NO_BODY

    def take(self, message: Message) -> bytes:
        """Note one event; returns the part of the body in it that is to be sent."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            return self._body(message)
        elif kind == "http.response.trailers":
            self._trailers(message)
        else:
            raise InvalidResponse(f"an app cannot send {kind!r} for an HTTP request")
        return b""

    def check_complete(self) -> None:
        """Raise unless the app has sent all of it."""
        if self.phase is not Phase.COMPLETE:
            had = "any response" if self.phase is Phase.NOTHING else "finishing its response"
            raise InvalidResponse(f"the app returned without {had}")

    def _start(self, message: Message) -> None:
        if self.phase is not Phase.NOTHING:
            raise InvalidResponse("the app sent http.response.start twice")
        status = message["status"]
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise InvalidResponse(
                f"the app answered with the status {status!r}; a response has one of 200 to 599"
            )
        self.headers = from_asgi(message.get("headers", ()))
        self.length = _content_length(self.headers.get("Content-Length"))
        self.status = int(status)
        self._has_trailers = bool(message.get("trailers", False))
        self.phase = Phase.STARTED
        if self.status == 204:
            self.headers.pop("Content-Length", None)  # RFC 9110, section 8.6.

    def _body(self, message: Message) -> bytes:
        if self.phase is not Phase.STARTED:
            when = "before http.response.start" if self.phase is Phase.NOTHING else "after its last one"
            raise InvalidResponse(f"the app sent http.response.body {when}")
        body = message.get("body", b"")
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise InvalidResponse(f"the app sent a body that is not bytes but {type(body).__name__}")
        ended = not message.get("more_body", False)
        if self.has_body:
            self._count(len(body), ended)
        if ended:
            self.phase = Phase.TRAILERS if self._has_trailers else Phase.COMPLETE
        return bytes(body) if self.has_body else b""

    def _count(self, size: int, ended: bool) -> None:
        self._written += size
        if self.length is None or self._written == self.length or (self._written < self.length and not ended):
            return
        raise InvalidResponse(
            f"the app's Content-Length is {self.length}, but its body has {self._written} bytes"
        )

    def _trailers(self, message: Message) -> None:
        if self.phase is not Phase.TRAILERS:
            raise InvalidResponse(
                "the app sent http.response.trailers, which its http.response.start did not announce"
            )
        for key, values in from_asgi(message.get("headers", ())).items():
            self.trailers.setdefault(key, []).extend(values)
        if not message.get("more_trailers", False):
            self.phase = Phase.COMPLETE


def _content_length(values: Iterable[str] | None) -> int | None:
    if values is None:
        return None
    given = set(values)
    text = given.pop()
    if given or not (text.isascii() and text.isdigit()):
        raise InvalidResponse(f"the app's Content-Length is {text!r}, which is not one number")
    return int(text)
