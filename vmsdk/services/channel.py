"""The channel to one of the node's servers."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import grpc
from typing_extensions import Self

from vmsdk._version import __version__
from vmsdk.http2.client import ClientConnection, Gone, Reset, Unprocessed
from vmsdk.http2.frames import Fault, message_head
from vmsdk.http2.hpack import Header, HPACKError, encode

KEEPALIVE_TIME_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 10_000

# Options of grpcio's channels. Source: vms/rpcchainvm/grpcutils/client.go of the node.
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    # Otherwise the C core stops after two pings without data in between.
    ("grpc.http2.max_pings_without_data", 0),
    # Don't use a proxy for servers on this machine.
    ("grpc.enable_http_proxy", 0),
    # Don't share the back-off of a channel to an earlier server on the same port.
    ("grpc.use_local_subchannel_pool", 1),
)


CONNECT_TIMEOUT_S = 20.0
"""For one attempt, within which the server must have sent its settings."""
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 1.0
"""Between attempts to connect."""
MAX_IDLE = 32
"""Idle connections that are kept for later calls."""
LONGEST_IDLE_S = 3600.0
"""How long a connection is kept without a call. After 2 h, the node's server starts sending
keepalive pings, and closes the connection if nobody answers them.
"""
MAX_UNREAD = 32
"""Connections in use. With more, responses are read early, to free connections for other calls."""
CLOSED = "Channel closed!"
"""The text of the error of a call that `Channel.close` ends, as in grpcio."""

_CODES = {b"%d" % code.value[0]: code for code in grpc.StatusCode}
# Source: doc/http-grpc-status-mapping.md of gRPC.
_CODES_OF_HTTP = {
    b"400": grpc.StatusCode.INTERNAL,
    b"401": grpc.StatusCode.UNAUTHENTICATED,
    b"403": grpc.StatusCode.PERMISSION_DENIED,
    b"404": grpc.StatusCode.UNIMPLEMENTED,
    b"429": grpc.StatusCode.UNAVAILABLE,
    b"502": grpc.StatusCode.UNAVAILABLE,
    b"503": grpc.StatusCode.UNAVAILABLE,
    b"504": grpc.StatusCode.UNAVAILABLE,
}
# Source: "Errors" in doc/PROTOCOL-HTTP2.md of gRPC. The others are INTERNAL.
_CODES_OF_RESETS = {
    0x5: grpc.StatusCode.UNKNOWN,
    0x8: grpc.StatusCode.CANCELLED,
    0xB: grpc.StatusCode.RESOURCE_EXHAUSTED,
    0xC: grpc.StatusCode.PERMISSION_DENIED,
}
_FAILURES = (OSError, Gone, Unprocessed, Reset, Fault, HPACKError)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def connect(address: str) -> Channel:
    """A channel to the server at *address*, `host:port` or `unix:/path`. It connects at the first
    call.

    Make calls with `Call`, which waits for the connection without a limit, as this protocol
    requires. Closing the channel ends them. Raises `ValueError` for any other address.
    """
    return Channel(address)


class CallFailed(grpc.RpcError):
    """A call has failed. It has the interface of grpcio's errors."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """The status's text."""
        return self._details


class Channel:
    """Connections to one server. Thread-safe.

    A connection carries one call at a time: the calling thread sends the request and reads the
    response, and no other thread is woken. A call uses the idle connection that was used last, or
    opens one.

    Unlike the node's own channels, it sends no keepalive pings: the node runs on this machine,
    whose kernel closes the connections of a process that exits. Calls to a node that is only
    stopped (SIGSTOP, a debugger) continue when the node does.
    """

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* returns seconds. Raises `ValueError`."""
        self._address = address
        self._family, self._where = _parse(address)
        self._clock = clock
        self.authority = b"localhost" if self._family is None else address.encode()
        self._idle: list[tuple[ClientConnection, float]] = []
        """With the times when their last calls ended; the most recent is last."""
        self._begin()
        _channels.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        # Weak, since the connection of a call that is dropped without a result closes itself.
        self._connections: weakref.WeakSet[ClientConnection] = weakref.WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def unary_unary(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes] = bytes,
        response_deserializer: Callable[[bytes], Any] = bytes,
    ) -> UnaryMethod:
        """What calls the method at *path*, as in grpcio."""
        return UnaryMethod(self, path, request_serializer, response_deserializer)

    def close(self) -> None:
        """End calls in flight, and refuse later ones. Idempotent."""
        with self._lock:
            self._closing.set()
            while self._idle:
                idle, _ = self._idle.pop()
                self._connections.discard(idle)
                idle.close()
            for each in [*self._connections]:
                each.shut_down()  # the thread that reads closes it
                if each.is_unread:
                    each.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    @property
    def in_use(self) -> int:
        """How many connections carry calls."""
        return len(self._connections) - len(self._idle)

    def borrow(self, *, wait_for_ready: bool) -> ClientConnection:
        """A connection for one call. If *wait_for_ready*, it waits until the server listens."""
        while True:
            with self._lock:
                if self._closing.is_set():
                    raise CallFailed(grpc.StatusCode.CANCELLED, CLOSED)
                if not self._idle:
                    break
                connection, since_s = self._idle.pop()
            try:
                if self._clock() - since_s < LONGEST_IDLE_S and connection.is_usable():
                    return connection
            except BaseException:
                self.discard(connection)
                raise
            self.discard(connection)
        pause_s = FIRST_PAUSE_S
        while True:
            found = self._connect()
            if isinstance(found, ClientConnection):
                return found
            if not wait_for_ready:
                reason = getattr(found, "strerror", None) or found
                text = f"no server listens at {self._address}: {reason}"
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, text)
            if self._closing.wait(pause_s):
                raise CallFailed(grpc.StatusCode.CANCELLED, CLOSED)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def give_back(self, connection: ClientConnection) -> None:
        """Keep *connection*, whose call has ended, for later calls."""
        with self._lock:
            if not self._closing.is_set() and len(self._idle) < MAX_IDLE and connection in self._connections:
                self._idle.append((connection, self._clock()))
                return
        self.discard(connection)

    def discard(self, connection: ClientConnection) -> None:
        """Close *connection*. Idempotent."""
        with self._lock:  # so that `close` doesn't shut down a later socket with its number
            self._connections.discard(connection)
            connection.close()

    def _connect(self) -> ClientConnection | Exception:
        """A new connection, or the reason why there is none."""
        try:
            places = self._places()
        except OSError as error:
            return error
        reason: Exception = Gone("it has no address")
        for family, where in places:
            try:
                sock = socket.socket(family)
            except OSError as error:
                return error  # for want of descriptors
            connection = ClientConnection(sock)
            with self._lock:
                if self._closing.is_set():
                    connection.close()
                    raise CallFailed(grpc.StatusCode.CANCELLED, CLOSED)
                self._connections.add(connection)
            try:
                sock.settimeout(CONNECT_TIMEOUT_S)
                sock.connect(where)
                if family != getattr(socket, "AF_UNIX", None):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._closing.is_set():
                    raise CallFailed(grpc.StatusCode.CANCELLED, CLOSED)
                connection.greet()
                sock.settimeout(None)
            except (OSError, Gone) as error:
                self.discard(connection)
                reason = error
                continue
            except (Fault, HPACKError) as error:
                self.discard(connection)
                text = f"the server at {self._address} does not speak HTTP/2: {error}"
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, text) from None
            except BaseException:
                self.discard(connection)
                raise
            return connection
        return reason

    def _places(self) -> list[tuple[int, Any]]:
        if self._family is None:
            return [(socket.AF_UNIX, self._where)]
        if self._family:
            return [(self._family, self._where)]
        host, port = self._where
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]

    def forget_connections(self) -> None:
        """In a forked child: close its copies of the parent's sockets."""
        connections = [*self._connections]
        was_closed = self._closing.is_set()
        self._idle.clear()
        self._begin()
        if was_closed:
            self._closing.set()
        for each in connections:
            each.close()


class UnaryMethod:
    """Calls one method. Thread-safe."""

    def __init__(
        self, channel: Channel, path: str, serialize: Callable[[Any], bytes], parse: Callable[[bytes], Any]
    ) -> None:
        self.channel = channel
        self.serialize = serialize
        self.parse = parse
        self.block = encode(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", path.encode()),
                (b":authority", channel.authority),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"vmsdk/" + __version__.encode()),
            ]
        )

    def __call__(self, request: Any, *, wait_for_ready: bool = False) -> Any:
        """Call the method and return the response. Raises `grpc.RpcError`."""
        return UnaryCall(self, request, wait_for_ready=wait_for_ready).result()

    def future(self, request: Any, *, wait_for_ready: bool = False) -> UnaryCall:
        """Send *request* and return at once. Raises `grpc.RpcError`."""
        call = UnaryCall(self, request, wait_for_ready=wait_for_ready)
        if self.channel.in_use > MAX_UNREAD:
            call.read()
        return call


class UnaryCall:
    """A call whose request has been sent. It holds a connection until its response is read, or it
    is cancelled.
    """

    __slots__ = ("_connection", "_is_repeated", "_message", "_method", "_outcome", "_wait_for_ready")

    def __init__(self, method: UnaryMethod, request: Any, *, wait_for_ready: bool) -> None:
        self._method = method
        self._message = method.serialize(request)
        self._wait_for_ready = wait_for_ready
        self._is_repeated = False
        self._outcome: bytes | CallFailed | None = None
        self._send()

    def read(self) -> None:
        """Wait for the response and keep it, which frees the connection for other calls."""
        if self._outcome is not None:
            return
        try:
            self._outcome = self._response()
        except CallFailed as error:
            self._outcome = error

    def result(self) -> Any:
        """Wait for the response and return it, once. Raises `grpc.RpcError`."""
        self.read()
        if isinstance(self._outcome, CallFailed):
            raise self._outcome
        try:
            return self._method.parse(self._outcome)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - protobuf's errors are of many classes
            raise CallFailed(grpc.StatusCode.INTERNAL, f"a malformed response: {error}") from None

    def _response(self) -> bytes:
        while True:
            try:
                headers, trailers, data = self._connection.response()
            except _FAILURES as error:
                self._end(error)
                self._send()
            except BaseException:  # KeyboardInterrupt: the response may still come
                self.cancel()
                raise
            else:
                break
        self._method.channel.give_back(self._connection)
        return _message(headers, trailers, data)

    def cancel(self) -> None:
        """Discard the response."""
        if self._outcome is None:
            self._method.channel.discard(self._connection)

    def _send(self) -> None:
        while True:
            self._connection = self._method.channel.borrow(wait_for_ready=self._wait_for_ready)
            try:
                self._connection.request(self._method.block, self._message)
            except _FAILURES as error:
                self._end(error)
            except BaseException:
                self.cancel()
                raise
            else:
                return

    def _end(self, error: Exception) -> None:
        """Close the connection. Returns if the call may be repeated, else raises `CallFailed`."""
        self.cancel()
        if self._method.channel.is_closed:
            raise CallFailed(grpc.StatusCode.CANCELLED, CLOSED) from None
        if isinstance(error, Unprocessed) and not self._is_repeated:
            self._is_repeated = True
            return
        if isinstance(error, Reset):
            code = _CODES_OF_RESETS.get(error.code, grpc.StatusCode.INTERNAL)
        elif isinstance(error, (Fault, HPACKError)):
            code = grpc.StatusCode.INTERNAL
        else:
            code = grpc.StatusCode.UNAVAILABLE
        raise CallFailed(code, str(error)) from None


def _message(headers: tuple[Header, ...], trailers: tuple[Header, ...], data: bytes) -> bytes:
    """The message of a response. Raises `CallFailed` when its status isn't OK."""
    found = dict(trailers)
    status = found.get(b"grpc-status")
    if status is None:
        http = dict(headers).get(b":status", b"none")
        code = _CODES_OF_HTTP.get(http, grpc.StatusCode.UNKNOWN)
        raise CallFailed(
            code, f"a response without a gRPC status; its HTTP status is {http.decode('latin-1')}"
        )
    if status != b"0":
        code = _CODES.get(status, grpc.StatusCode.UNKNOWN)
        raise CallFailed(code, _text(found.get(b"grpc-message", b"")))
    try:
        is_compressed, length = message_head.unpack_from(data)
    except struct.error:
        raise CallFailed(grpc.StatusCode.INTERNAL, "a response without a message") from None
    if length != len(data) - message_head.size:
        text = f"a message of {length} bytes in a response of {len(data)}"
        raise CallFailed(grpc.StatusCode.INTERNAL, text)
    if is_compressed:
        raise CallFailed(grpc.StatusCode.UNIMPLEMENTED, "a compressed message, although none was accepted")
    return data[message_head.size :]


def _text(message: bytes) -> str:
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), message).decode(errors="replace")


# A forked child opens its own connections, so that two processes don't mix their frames on one.
_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _forget_connections() -> None:
    for channel in [*_channels]:
        channel.forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


def target(address: str) -> str:
    """*address* as a target for grpcio. IP addresses get a scheme that needs no resolver."""
    family, where = _parse(address)
    if family is None:
        return address
    if family == socket.AF_UNSPEC:
        return f"dns:///{address}"
    return f"ipv4:{where[0]}:{where[1]}" if family == socket.AF_INET else f"ipv6:[{where[0]}]:{where[1]}"


def _parse(address: str) -> tuple[int | None, Any]:
    """The family of *address* and its address for a socket. The family is None for a Unix socket,
    and AF_UNSPEC for a host name. Raises `ValueError`.
    """
    if address.startswith("unix:/"):
        path = address.removeprefix("unix:")
        return None, path[2:] if path.startswith("///") else path
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is not a server's address: expected host:port, such as 127.0.0.1:9652")
    host = host.removeprefix("[").removesuffix("]")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family, (host, int(port))
    return socket.AF_UNSPEC, (host, int(port))
