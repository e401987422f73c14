"""HTTP: the VM's handlers, as the node's API server calls them."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import MissingExtra
from vmsdk.host.client import CHANNEL_OPTIONS
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed
from vmsdk.host.node import Host
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import FROM_42, GRPC_SERVER, VM_SERVER, Severity, Skipped, Violation, contract
from vmsdk.testing.wire import MIB, call, check_loopback_only, connects, must_succeed

if TYPE_CHECKING:
    from vmsdk.host.http.routes import RouteRefused

_API_SERVER = "api/server/server.go"
_GHTTP_SERVER = "vms/rpcchainvm/ghttp/http_server.go"
_GHTTP_CLIENT = "vms/rpcchainvm/ghttp/http_client.go"

_TIMEOUT_S = 10.0
_HEADERS = 1_000
_LARGE_HEADER = 1_000_000  # Go's HTTP server accepts a little more.
_AT_ONCE = 16
# When a client hangs up: immediately, and while the VM handles its request.
_HANG_UP_AFTER_S = (0.0, 0.01, 0.03, 0.1)
# Content types that are unknown, or wrong for the body.
_ODD_TYPES: tuple[dict[str, str], ...] = (
    {"Content-Type": "application/json; charset=no-such-charset"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    {"Content-Type": ";=/"},
)
# How long a client waits for the response to an upgrade before it hangs up.
_QUIET_S = 0.3
# The first ID of the JSON-RPC calls.
_FIRST_ID = 20_260_000
# How long it may take the VM to notice that clients have disconnected.
_NOTICE_S = 1.0
# A response that a Go VM puts into the error of a call is in its trailers, twice.
_OPTIONS: tuple[tuple[str, Any], ...] = (*CHANNEL_OPTIONS, ("grpc.max_metadata_size", 16 * MIB))
_DETAILS_KEY = "grpc-status-details-bin"


class Handler:
    """One of the VM's handlers, called as the node's client does."""

    def __init__(self, host: Host, prefix: str, channel: grpc.Channel) -> None:
        self.prefix = prefix
        self.path = f"/ext/bc/{host.config.chain_id}{prefix}"
        self._sends_response_headers = host.config.protocol.simple_response_headers
        self._call: Any = channel.unary_unary(
            HTTP.HandleSimple.path,
            request_serializer=HTTP.HandleSimple.request.SerializeToString,
            response_deserializer=HTTP.HandleSimple.response.FromString,
        )

    def start(
        self,
        method: str = "GET",
        path: str = "",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Any:
        """Send a request; returns the call."""
        request = http_pb2.HandleSimpleHTTPRequest(method=method, url=self.path + path, body=body)
        for name, value in {"Accept": "*/*", **(headers or {})}.items():
            request.request_headers.add(key=name, values=[value])
        if self._sends_response_headers:
            request.response_headers.add(key="Node-Id", values=["NodeID-1"])
        return self._call.future(request, timeout_s)

    def request(self, *args: Any, what: str, **options: Any) -> http_pb2.HandleSimpleHTTPResponse | None:
        """Send a request; returns the response, or None if the VM sent its text with an error.

        Raises `Violation` if the call fails for a reason other than the request. *what* describes
        the request.
        """
        try:
            response: http_pb2.HandleSimpleHTTPResponse = self.start(*args, **options).result()
        except grpc.RpcError as error:
            failed = call_failed("HandleSimple", error)
            # A Go VM sends status 500 as an error, and an error for an invalid request.
            if failed.code in ("UNKNOWN", "INVALID_ARGUMENT") or _DETAILS_KEY in _trailers(error):
                return None
            raise Violation(
                f"the handler {self.prefix!r} fails for {what}",
                sent=f"HandleSimple for {self.path}: {what}",
                got=f"{failed.code}: {failed.details}",
                node="the client gets status 500, or waits forever",
                cure="serve http.HTTP at the handler's address, without limits for messages; "
                "return errors as HTTP responses",
            ) from None
        return response


def _trailers(error: grpc.RpcError) -> dict[Any, Any]:
    # The errors that grpcio raises are also calls, but not in its type stubs.
    return dict(cast(grpc.Call, error).trailing_metadata() or ())


@contextmanager
def handlers(host: Host) -> Iterator[list[Handler]]:
    """Connect to the VM's handlers. Raises `Skipped` if it has none."""
    if not host.chain.handlers:
        raise Skipped("the VM has no HTTP handlers")
    with ExitStack() as resources:
        channels = {
            address: resources.enter_context(grpc.insecure_channel(address, options=_OPTIONS))
            for address in set(host.chain.handlers.values())
        }
        yield [Handler(host, prefix, channels[address]) for prefix, address in host.chain.handlers.items()]


# Routes -------------------------------------------------------------------------------------------


@contract("http", severity=Severity.MISBEHAVES, source=VM_SERVER)
def handlers_are_created(bench: Bench) -> None:
    """If CreateHandlers or the method for routes by header fails, the chain has no HTTP at all."""
    with bench.chain() as host:
        error = host.chain.handlers_error
        if error is not None:
            raise Violation(
                f"{error.method} fails",
                sent=error.method,
                got=f"{error.code}: {error.details}",
                node="it logs the error, and serves nothing of this chain",
                cure="return an empty list, or an empty address, if the VM has no handlers",
            )


@contract("http", severity=Severity.MISBEHAVES, source=_API_SERVER)
def prefixes_are_routes(bench: Bench) -> None:
    """A prefix is empty or a path that begins with a slash; the node serves no other."""
    # Its libraries belong to an extra.
    try:
        from vmsdk.host.http.request import parse_target
        from vmsdk.host.http.routes import ChainRoutes
    except ModuleNotFoundError as error:
        raise MissingExtra("HTTP routes", package=error.name or "h11", extra="testing") from None

    with bench.chain() as host:
        config = host.config
        routes = ChainRoutes(config.protocol, config.chain_id, (), host.chain.handlers, "")
        if routes.refused:
            refused: RouteRefused = routes.refused[0]
            raise Violation(
                f"a node does not serve the handler {refused.prefix!r}",
                sent="CreateHandlers",
                got=f"the prefixes {sorted(host.chain.handlers)}",
                node=f"it logs an error: {refused}",
                cure='begin the prefix with a slash, such as "/rpc", or leave it empty',
            )
        for prefix in host.chain.handlers:
            if "{" in prefix:
                continue  # A template with {variables} stands for many paths.
            base = routes.bases[0]
            url = parse_target((base + prefix).partition("#")[0])
            if url.clean_path != url.path or url.path != base + prefix:
                raise Violation(
                    f"no client reaches the handler {prefix!r}",
                    sent="CreateHandlers",
                    got=f"the prefix {prefix!r}, but a request for it has the path "
                    f"{url.clean_path.removeprefix(base)!r}",
                    node="it compares prefixes with the path only, unescaped and without repeated slashes",
                    cure='return a plain path such as "/rpc", without query, fragment, escapes, dots or "//"',
                )


@contract("http", severity=Severity.MISBEHAVES, source=VM_SERVER)
def prefixes_are_unique(bench: Bench) -> None:
    """CreateHandlers returns one handler for each prefix."""
    with bench.initialized() as host:
        prefixes = [each.prefix for each in call(host, "CreateHandlers", Empty()).handlers]
    twice = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
    if twice:
        raise Violation(
            f"two handlers have the prefix {twice[0]!r}",
            sent="CreateHandlers",
            got=f"the prefixes {prefixes}",
            node="it serves the last of them only, and logs nothing",
            cure="return one handler for each prefix, which routes by path, method or header itself",
        )


@contract("http", severity=Severity.MISBEHAVES, source=VM_SERVER)
def handlers_are_served(bench: Bench) -> None:
    """An http.HTTP service listens at the address of each handler."""
    with bench.chain() as host, handlers(host) as found:
        dead = sorted(address for address in _addresses(host) if not connects(address))
        if dead:
            raise Violation(
                "nothing listens at a handler's address",
                sent=f"a TCP connection to {', '.join(dead)}",
                got="it was refused",
                node="a client's request waits forever",
                cure="start the handler's server before CreateHandlers returns",
            )
        for handler in found:
            for method in ("GET", "POST", "OPTIONS"):
                response = handler.request(method, what=f"a plain {method}")
                if response is None:
                    continue
                if not 100 <= response.code <= 599:
                    raise Violation(
                        f"the handler {handler.prefix!r} returns a status that does not exist",
                        sent=f"{method} {handler.path}",
                        got=f"status {response.code}",
                        node="the client gets status 500 instead",
                        cure="set the code of every response, 200 if all is well",
                    )
                length = _content_length(response)
                if length not in (None, str(len(response.body))):
                    raise Violation(
                        f"the handler {handler.prefix!r} returns a Content-Length that is not its body's",
                        sent=f"{method} {handler.path}",
                        got=f"Content-Length: {length}, and {len(response.body)} bytes",
                        node="it cuts the response, or closes the client's connection",
                        cure="omit the header: the node sets it",
                    )


def _content_length(response: http_pb2.HandleSimpleHTTPResponse) -> str | None:
    found = (header.values for header in response.headers if header.key.lower() == "content-length")
    return next((values[0] for values in found if values), None)


@contract("http", severity=Severity.MISBEHAVES, source=VM_SERVER)
def handlers_listen_on_loopback_only(bench: Bench) -> None:
    """Calls of handlers are not authenticated, so other machines must not reach their servers."""
    with bench.chain() as host:
        check_loopback_only("a handler's server", _addresses(host))


def _addresses(host: Host) -> set[str]:
    return {*host.chain.handlers.values(), host.chain.http_handler} - {""}


@contract("http", severity=Severity.BETTER_NOT, source=_GHTTP_CLIENT, protocols=FROM_42)
def the_nodes_headers_are_kept(bench: Bench) -> None:
    """From protocol 42 on, the VM gets the node's response headers, and must return them."""
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            response = handler.request("GET", what="a plain GET")
            if response is not None and "Node-Id" not in {header.key for header in response.headers}:
                raise Violation(
                    f"the handler {handler.prefix!r} drops the node's own headers",
                    sent=f"GET {handler.path}, with the response header Node-Id",
                    got=f"the headers {sorted(header.key for header in response.headers)}",
                    node="its headers are lost, including those that let browsers call the API (CORS)",
                    cure="begin the response's headers with response_headers of the request",
                )


# Requests -----------------------------------------------------------------------------------------


@contract("http", severity=Severity.MISBEHAVES, source=_GHTTP_SERVER)
def odd_requests_get_a_response(bench: Bench) -> None:
    """Unknown paths and methods, garbage, and many and large headers get a response."""
    many = {f"X-Header-{number}": "x" * 100 for number in range(_HEADERS)}
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            handler.request("GET", "/no/such/path?%zz&=", what="an unknown path")
            handler.request("BREW", what="an unknown method")
            handler.request("", what="an empty method")
            handler.request("GET", "\n\0 \N{PILE OF POO}", what="a malformed URL")
            handler.request("GET", "/" + "x" * MIB, what="a path of 1 MiB")
            handler.request("GET", headers=many, what=f"{_HEADERS} headers")
            handler.request("GET", headers={"X-Header": "x" * _LARGE_HEADER}, what="a large header")
            for body in (b"", b"\xff\xfe", b"[" * 100_000, b'{"jsonrpc":"2.0","id":1,"method":7}'):
                headers = {"Content-Type": "application/json"}
                handler.request("POST", body=body, headers=headers, what="a body that is garbage")
            for headers in _ODD_TYPES:
                handler.request("POST", body=b"{}", headers=headers, what=f"the headers {headers}")
        bench.alive(host)


@contract("http", severity=Severity.MISBEHAVES, source=GRPC_SERVER)
def bodies_may_be_large(bench: Bench) -> None:
    """The node sends the whole body of a request in one message, however large."""
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            handler.request("POST", body=os.urandom(8 * MIB), what="a body of 8 MiB")
        bench.alive(host)


@contract("http", severity=Severity.STOPS, source=_GHTTP_SERVER)
def clients_that_go_away(bench: Bench) -> None:
    """A client that hangs up during its request does no harm."""
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            for delay_s in _HANG_UP_AFTER_S:
                calls = [handler.start("POST", body=b"x" * 10_000) for _ in range(_AT_ONCE)]
                time.sleep(delay_s)
                for call in calls:
                    call.cancel()
            handler.request("GET", what="a GET after clients that disconnected")
        bench.alive(host)


@contract("http", severity=Severity.STOPS, source=_GHTTP_SERVER)
def requests_at_once(bench: Bench) -> None:
    """Many HTTP requests run at once, in parallel with the engine's calls."""
    with bench.chain() as host, handlers(host) as found:
        calls = [handler.start() for handler in found for _ in range(4 * _AT_ONCE)]
        bench.alive(host)
        for call in calls:
            try:
                call.result()
            except grpc.RpcError as error:
                failed = call_failed("HandleSimple", error)
                if failed.code in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"):
                    raise Violation(
                        "a handler fails when there are many requests at once",
                        sent=f"{4 * _AT_ONCE} GET requests at once",
                        got=f"{failed.code}: {failed.details}",
                        node="clients get status 500",
                        cure="queue requests, and do not hold a lock while you wait for something else",
                    ) from None


@contract("http", severity=Severity.MISBEHAVES, source=_GHTTP_SERVER)
def responses_belong_to_their_requests(bench: Bench) -> None:
    """Each of several JSON-RPC calls at once gets the response with its own ID."""
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            if _rpc_ids(handler, [_FIRST_ID]) != [_FIRST_ID]:
                continue  # The handler does not speak JSON-RPC.
            ids = [_FIRST_ID + number for number in range(1, 4 * _AT_ONCE)]
            pairs = zip(ids, _rpc_ids(handler, ids), strict=True)
            wrong = [(sent, got) for sent, got in pairs if got not in (sent, None)]  # None: refused.
            if wrong:
                raise Violation(
                    f"a client of the handler {handler.prefix!r} gets the response of another",
                    sent=f"POST of {len(ids)} JSON-RPC calls at once, each with its own ID",
                    got=f"{len(wrong)} with a wrong ID: for {wrong[0][0]} came {wrong[0][1]}",
                    node="it passes the response on to the client",
                    cure="keep nothing of a request on an object that other requests share",
                )


def _rpc_ids(handler: Handler, ids: list[int]) -> list[object]:
    """Call a JSON-RPC method that does not exist, once for each of *ids*; returns the IDs of the
    responses, None for one without an ID.
    """
    headers = {"Content-Type": "application/json"}
    bodies = [b'{"jsonrpc": "2.0", "id": %d, "method": "vmsdk_check", "params": []}' % each for each in ids]
    calls = [handler.start("POST", body=body, headers=headers) for body in bodies]
    found: list[object] = []
    for each in calls:
        try:
            response = json.loads(each.result().body)
        except (grpc.RpcError, ValueError):
            response = None
        found.append(response.get("id") if isinstance(response, dict) else None)
    return found


# Upgrades and HTTP/2 ------------------------------------------------------------------------------


@contract("http", severity=Severity.MISBEHAVES, source=_GHTTP_SERVER)
def upgrades_get_a_response(bench: Bench) -> None:
    """A request for a WebSocket arrives by Handle, and gets status 101 or an error."""
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            with (
                upgrade(bench.url(host), handler) as client,
                http.client.HTTPResponse(client) as response,
                must_succeed(
                    f"the handler {handler.prefix!r} does not respond to an upgrade",
                    sent=f"GET {handler.path} with Upgrade: websocket",
                    node="the client waits, or sees its connection closed",
                    cure="implement Handle: hijack the connection, or write a status such as 404",
                    errors=(OSError, http.client.HTTPException),
                ),
            ):
                response.begin()
        bench.alive(host)


@contract("http", severity=Severity.MISBEHAVES, source=_GHTTP_SERVER, protocols=range(41, 100))
def http2_gets_a_response(bench: Bench) -> None:
    """A VM with a handler for routes by header gets HTTP/2 requests by Handle."""
    try:
        import h2.connection  # noqa: F401 - httpx needs it for HTTP/2
        import httpx
    except ModuleNotFoundError as error:
        raise MissingExtra("HTTP/2", package=error.name or "httpx", extra="testing") from None

    with bench.chain() as host:
        if not host.chain.http_handler:
            raise Skipped("the VM has no handler for routes by header")
        name = "Avalanche-Api-Route" if host.config.protocol.waits_for_events else "chain-id"
        headers = {name: str(host.config.chain_id)}
        node = urlsplit(bench.url(host)).netloc
        with httpx.Client(http1=False, http2=True, timeout=_TIMEOUT_S, trust_env=False) as client:
            for method, body in (("GET", b""), ("POST", b"x" * 100_000)):
                with must_succeed(
                    "the VM does not respond to HTTP/2",
                    sent=f"{method} by HTTP/2 with the header {name}",
                    node="the client waits, or sees its stream reset",
                    cure="implement Handle: read the body from the node's reader, write a status",
                    errors=httpx.HTTPError,
                ):
                    client.request(method, f"http://{node}/no/such/path", content=body, headers=headers)
        bench.alive(host)


@contract("http", severity=Severity.STOPS, source=_GHTTP_SERVER)
def streams_that_are_cut(bench: Bench) -> None:
    """A client that hangs up, or only half closes, during or after an upgrade does no harm."""
    with bench.chain() as host, handlers(host) as found:
        for handler in found:
            clients = [upgrade(bench.url(host), handler, b"not a frame") for _ in range(_AT_ONCE)]
            select.select(clients, [], [], _QUIET_S)  # By now, the VM has at least one request.
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
            handler.request("GET", what="a GET after WebSockets that were half closed")
            for client in clients:
                client.close()
            handler.request("GET", what="a GET after WebSockets that were closed")
        host.process.wait(_NOTICE_S)
        bench.alive(host)


@contract("http", severity=Severity.STOPS, source=_GHTTP_SERVER)
def open_streams_do_no_harm(bench: Bench) -> None:
    """WebSockets that stay open hold up neither the engine's calls nor other clients."""
    with bench.chain() as host, handlers(host) as found, ExitStack() as streams:
        for handler in found:
            for _ in range(4 * _AT_ONCE):
                streams.enter_context(upgrade(bench.url(host), handler))
            host.process.wait(_QUIET_S)  # The VM has the requests by now.
            with must_succeed(
                "open WebSockets hold up engine calls",
                sent=f"{4 * _AT_ONCE} open upgrades of {handler.path}, then engine calls",
                node="it waits until the clients hang up, so any client can stop the chain",
                cure="hold no lock while a stream is open, and give streams their own threads",
                errors=(CallFailed, Violation),
            ):
                bench.alive(host)
                for height in (host.chain.last_accepted.height, 2**63):
                    call(host, "GetBlockIDAtHeight", pb.GetBlockIDAtHeightRequest(height=height), _TIMEOUT_S)
            handler.request("GET", what=f"a GET while {4 * _AT_ONCE} WebSockets are open")


def upgrade(url: str, handler: Handler, frames: bytes = b"") -> socket.socket:
    """Request a WebSocket, and send *frames* without waiting for the response."""
    node = urlsplit(url).netloc
    place, _, port = node.rpartition(":")
    client = socket.create_connection((place, int(port)), timeout=_TIMEOUT_S)
    client.sendall(
        f"GET {handler.path} HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        + frames
    )
    return client
