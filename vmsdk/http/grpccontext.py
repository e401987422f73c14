"""What a gRPC method is given beside its request: the context of grpcio, as far as ASGI carries it."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn
from urllib.parse import quote

from vmsdk.http.asgi import Scope

Metadata = tuple[tuple[str, "str | bytes"], ...]

OK = 0
UNKNOWN = 2

# They belong to HTTP and to gRPC itself.
_RESERVED = frozenset(("host", "te", "content-type", "content-length", "user-agent", "connection"))


class Aborted(Exception):
    """The method has ended its call by `context.abort`."""


def metadata_of(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """A request's metadata: names that end in `-bin` have bytes."""
    found: list[tuple[str, str | bytes]] = []
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        if name in _RESERVED or name.startswith("grpc-"):
            continue
        if not name.endswith("-bin"):
            found.append((name, raw_value.decode("latin-1")))
            continue
        for value in raw_value.split(b","):
            try:
                found.append((name, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)))
            except binascii.Error:
                continue
    return tuple(found)


def to_headers(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    """Metadata as headers or trailers."""
    return [
        (
            key.lower().encode("ascii"),
            base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1"),
        )
        for key, value in metadata
    ]


class Context:
    """The context of a plain method, which runs in a thread: `grpc.ServicerContext`'s methods."""

    def __init__(self, scope: Scope, deadline: float | None) -> None:
        self._scope = scope
        self._deadline = deadline
        self._code = OK
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[Callable[[], None]] = []
        self.initial: Metadata = ()
        self.is_over = False

    # The request -----------------------------------------------------------------------------------

    def invocation_metadata(self) -> Metadata:
        return metadata_of(self._scope["headers"])

    def peer(self) -> str:
        """As grpcio spells it: `ipv4:10.0.0.1:4242`."""
        client = self._scope.get("client")
        if not client:
            return "unknown"
        return f"ipv6:[{client[0]}]:{client[1]}" if ":" in client[0] else f"ipv4:{client[0]}:{client[1]}"

    def time_remaining(self) -> float | None:
        """Seconds until the client gives up; None if it never does."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def is_active(self) -> bool:
        return not self.is_over

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """*callback* is called when the call is over; False if it is already."""
        if self.is_over:
            return False
        self._callbacks.append(callback)
        return True

    # The response ----------------------------------------------------------------------------------

    def send_initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> Any:
        """Goes with the first message."""
        self.initial = tuple(metadata)

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._trailing = tuple(metadata)

    def trailing_metadata(self) -> Metadata:
        return self._trailing

    def set_code(self, code: Any) -> None:
        """*code* is a `grpc.StatusCode`."""
        self._code = _number(code)

    def code(self) -> int:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> str:
        return self._details

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> Any:
        """End the call with this status. Never returns."""
        self._abort(code, details, trailing_metadata)

    def _abort(self, code: Any, details: str, trailing_metadata: Any) -> NoReturn:
        # As in grpcio, where an abort with OK is a mistake of the method.
        self._code = _number(code) or UNKNOWN
        self._details = details
        self._trailing = tuple(trailing_metadata) or self._trailing
        raise Aborted(details)

    # The server's side -----------------------------------------------------------------------------

    def fail(self, code: int, details: str) -> None:
        """The status that the call ends with, if not the method's own."""
        self._code = code
        self._details = details

    def trailers(self) -> list[tuple[bytes, bytes]]:
        """The status and the trailing metadata."""
        status = [(b"grpc-status", b"%d" % self._code)]
        if self._details:
            # PROTOCOL-HTTP2.md: percent-encoded but for printable ASCII.
            status.append(
                (b"grpc-message", quote(self._details, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~").encode())
            )
        return status + to_headers(self._trailing)

    def end(self) -> None:
        """The call is over."""
        self.is_over = True
        for callback in self._callbacks:
            callback()


class AsyncContext(Context):
    """The context of an `async` method: `grpc.aio.ServicerContext`'s."""

    def __init__(
        self,
        scope: Scope,
        deadline: float | None,
        read: Callable[[], Awaitable[Any]],
        write: Callable[[Any], Awaitable[None]],
    ) -> None:
        super().__init__(scope, deadline)
        self.read = read
        """The next request; `grpc.aio.EOF` after the last."""
        self.write = write
        """Send one response."""

    async def send_initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        super().send_initial_metadata(metadata)

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> Any:
        self._abort(code, details, trailing_metadata)

    def cancelled(self) -> bool:
        return self.is_over

    def done(self) -> bool:
        return self.is_over

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.add_callback(lambda: callback(self))


def _number(code: Any) -> int:
    """A `grpc.StatusCode`'s number, whose value is a pair of it and its name."""
    value = getattr(code, "value", code)
    return int(value[0] if isinstance(value, tuple) else value)
