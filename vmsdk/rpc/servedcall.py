"""A call that `vmsdk.rpc.pollserver` serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from typing import Any, NoReturn, Protocol

import grpc

from vmsdk.http2 import frames
from vmsdk.http2.hpack import Header
from vmsdk.http2.server import Broken, Stream
from vmsdk.rpc.errors import text_of, without_paths

_log = logging.getLogger("vmsdk.rpc")


class Details:
    """What a generic handler receives: the attributes of `grpc.HandlerCallDetails`."""

    def __init__(self, stream: Stream) -> None:
        self._headers = stream.headers
        path = next((value for name, value in stream.headers if name == b":path"), b"")
        self.method = path.decode("utf-8", "replace")

    @property
    def invocation_metadata(self) -> Any:
        return tuple(frames.metadata(self._headers))


class _Aborted(Exception):
    """Raised by `abort` to leave the method."""


class Server(Protocol):
    """What a call needs of its server."""

    def run(self, call: ServedCall) -> None:
        """Run *call*, or have it wait for its lane."""

    def withdraw(self, call: ServedCall) -> None:
        """End *call* if it waits."""

    def finishing(self, call: ServedCall) -> None:
        """The method of *call* has ended."""

    def finished(self, call: ServedCall) -> None:
        """*call* has ended."""


class ServedCall:
    """One call, which its method gets as the context."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self._server = server
        self._stream = stream
        self.connection = stream.connection
        self._lock = threading.Lock()
        self.handler: Any = None
        """The method; None if the call is refused."""
        self.lane: Any = None
        self.has_arrived = False
        """Whether its message has been there."""
        self.is_finishing = False
        """Whether its method has ended, and its response is sent."""
        self.is_cancelled = False
        self._is_aborted = False
        self._is_finished = False
        self._callbacks: list[Callable[[], None]] | None = []
        self._code: grpc.StatusCode | None = None
        self._text = b""
        self._trailing_metadata: Any = None
        self._request: Any = None

    # For the server -------------------------------------------------------------------------------

    def arrived(self) -> None:
        """Run the call, or have it wait for its lane."""
        if self.handler is None:
            return
        try:
            data = self._stream.message()
        except ValueError as error:
            self.refuse(grpc.StatusCode.UNIMPLEMENTED, str(error))
            return
        self._stream.data = b""
        decode = self.handler.request_deserializer
        try:
            self._request = data if decode is None else decode(data)
        except Exception:  # noqa: BLE001 - the call needs a response
            _log.exception("a message can't be decoded")
        if self._request is None:
            self.refuse(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        else:
            self._server.run(self)

    def left(self) -> None:
        """The client has left."""
        if self.lane is None or self.lane.cancellable:
            self.is_cancelled = True
            self._run_callbacks()
            if self.lane is not None:
                self._server.withdraw(self)
        if not self._stream.is_complete:
            self._server.finished(self)  # it can no longer arrive

    def cancel(self) -> None:
        """End the call for its client. A method that runs continues."""
        with suppress(Broken):
            self.connection.cancel(self._stream)
        self.left()

    def run(self) -> None:
        """Run the method and send its response."""
        request, self._request = self._request, None
        if self.is_cancelled:
            self.refuse(grpc.StatusCode.CANCELLED, "the client has left")
            return
        message = None
        try:
            if self.handler.response_streaming:
                Context().run(self._send_all, request)
            else:
                response = Context().run(self.handler.unary_unary, request, self)
                message = self._encode(response)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: this thread serves other calls
            if not self._is_aborted:
                self._fail(error)
        self._server.finishing(self)
        self._finish(message)

    def refuse(self, code: grpc.StatusCode, text: str) -> None:
        """End the call without a message."""
        self._code, self._text = code, text.encode()
        self._finish(None)

    # For the method -------------------------------------------------------------------------------

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._code = grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code
        self._text = details.encode("utf-8", "replace")
        self._is_aborted = True
        raise _Aborted

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def is_active(self) -> bool:
        return not (self.is_cancelled or self._is_finished)

    def invocation_metadata(self) -> Any:
        return tuple(frames.metadata(self._stream.headers))

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._trailing_metadata = metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._text = details.encode("utf-8", "replace")

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def details(self) -> bytes:
        return self._text

    # The response ---------------------------------------------------------------------------------

    def _send_all(self, request: Any) -> None:
        for response in self.handler.unary_stream(request, self):
            try:
                self.connection.send(self._stream, self._encode(response))
            except Broken:
                return
            if not self.is_active():
                return

    def _encode(self, response: Any) -> bytes:
        encode = self.handler.response_serializer
        data: bytes = response if encode is None else encode(response)
        return data

    def _fail(self, error: BaseException) -> None:
        _log.error("a gRPC method raised %s", type(error).__name__, exc_info=error)
        text = f"Exception calling application: {without_paths(text_of(error) or type(error).__name__)}"
        self._code, self._text = grpc.StatusCode.UNKNOWN, text.encode("utf-8", "replace")

    def _finish(self, message: bytes | None) -> None:
        """Send all that is left of the response."""
        self._is_finished = True
        try:
            if not self._stream.is_reset:
                self.connection.respond(self._stream, message, self._status())
        except Broken:
            pass  # the client has left
        except Exception as error:  # noqa: BLE001 - one bad response must not end the server
            _log.error("the response of a gRPC call can't be sent", exc_info=error)
            with suppress(Broken):
                self.connection.cancel(self._stream)
        self._run_callbacks()
        self._stream.call = _FINISHED  # not a cycle for the garbage collector
        self._server.finished(self)

    def _status(self) -> Iterable[Header]:
        if self._code is None and not self._text and not self._trailing_metadata:
            return ()
        code = 0 if self._code is None else self._code.value[0]
        return frames.trailers(code, self._text, self._trailing_metadata)

    def _run_callbacks(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:  # noqa: BLE001 - the other callbacks must run too
                _log.exception("a callback at the end of a gRPC call failed")


class _Finished:
    """Stands for calls that have ended."""

    has_arrived = True

    def left(self) -> None:
        pass


_FINISHED = _Finished()
