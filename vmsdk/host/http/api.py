"""The node's API server around the chains' handlers: its headers, its checks, its own responses."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeAlias

from vmsdk.host.http.endpoint import EndpointRequest
from vmsdk.host.http.forward import forward
from vmsdk.host.http.header import Header, canonical, first
from vmsdk.host.http.request import Request
from vmsdk.host.http.response import ResponseWriter
from vmsdk.host.http.router import Handled, NodeResponse, Router
from vmsdk.ids import NodeID
from vmsdk.protocol import Protocol

log = logging.getLogger(__name__)

# The node's default settings of github.com/rs/cors: every origin is allowed. Source:
# api/server/server.go.
_CORS_METHODS = ("GET", "POST", "HEAD", "OPTIONS")
_CORS_HEADERS = ("Origin", "Accept", "Content-Type", "X-Requested-With")
_ASKED_METHOD = "Access-Control-Request-Method"
_ASKED_HEADERS = "Access-Control-Request-Headers"

# The largest message to a VM, 2 MiB, is 4 MiB in hexadecimal.
MAX_ENDPOINT_BYTES = 8 * 1024 * 1024

OnAccess: TypeAlias = Callable[[str, str, int], None]
"""Called after each request with its method, its raw target (path and query) and the status of the
response.

The status is 0 if the client disconnected before the response, 101 if the VM took over the
connection.
"""


class API:
    """Handles every request that reaches the node."""

    def __init__(
        self,
        protocol: Protocol,
        node_id: NodeID,
        router: Router,
        executor: Executor,
        on_access: OnAccess | None,
    ) -> None:
        self._protocol = protocol
        self._node_id = str(node_id)
        self._router = router
        self._executor = executor
        self._on_access = on_access

    async def __call__(self, request: Request, writer: ResponseWriter) -> None:
        is_done = False
        try:
            await self._respond(request, writer)
            is_done = True
        finally:
            status = 101 if writer.hijacked else writer.status or (200 if is_done else 0)
            try:
                if self._on_access is not None:
                    self._on_access(request.method, request.target, status)
            except Exception:
                log.exception("the access callback failed on %s %s", request.method, request.target)

    async def _respond(self, request: Request, writer: ResponseWriter) -> None:
        writer.header["Node-Id"] = [self._node_id]
        if request.method == "OPTIONS" and first(request.header, _ASKED_METHOD):
            _allow_preflight(request.header, writer.header)
            await writer.write_header(200)
            return
        writer.header["Vary"] = ["Origin"]
        if first(request.header, "Origin") and request.method.upper() in _CORS_METHODS:
            writer.header["Access-Control-Allow-Origin"] = ["*"]
            writer.header["Access-Control-Allow-Credentials"] = ["true"]
        if not _is_allowed(request.host):
            await writer.error("invalid host specified", 403)
            return
        to = self._router.resolve(request)
        if isinstance(to, NodeResponse):
            await _send(writer, to)
        elif not isinstance(to, Handled):
            body = await request.body.read_all(MAX_ENDPOINT_BYTES)
            if len(body) > MAX_ENDPOINT_BYTES:
                await writer.error(f"a request to the node has at most {MAX_ENDPOINT_BYTES} bytes", 413)
                return
            call = EndpointRequest(
                request.method, first(request.header, "Content-Type"), first(request.header, "Origin"), body
            )
            response = await asyncio.get_running_loop().run_in_executor(self._executor, to, call)
            writer.header["Content-Type"] = [response.content_type]
            await writer.write_header(response.status)
            await writer.write(response.body.encode())
        else:
            await forward(to.backend, request, writer, self._protocol, to.chain.hijacked.serve)


def _is_allowed(host: str) -> bool:
    """Accept only IP addresses and `localhost`, as a node does against DNS rebinding."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal() or (":" in name and not name.startswith("[")):
        name = host
    name = name.removeprefix("[").removesuffix("]").lower()
    if not name or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _send(writer: ResponseWriter, response: NodeResponse) -> None:
    if response.location:
        writer.header["Location"] = [response.location]
    if response.text:
        await writer.error(response.text, response.status)
    else:
        await writer.write_header(response.status)


def _allow_preflight(request: Header, response: Header) -> None:
    """Set the headers of the response to a browser's CORS preflight request."""
    response["Vary"] = ["Origin", _ASKED_METHOD, _ASKED_HEADERS]
    method = first(request, _ASKED_METHOD).upper()
    names = [canonical(name.strip()) for name in first(request, _ASKED_HEADERS).split(",") if name.strip()]
    if first(request, "Origin") and method in _CORS_METHODS and set(names) <= set(_CORS_HEADERS):
        response["Access-Control-Allow-Origin"] = ["*"]
        response["Access-Control-Allow-Methods"] = [method]
        if names:
            response["Access-Control-Allow-Headers"] = [", ".join(names)]
        response["Access-Control-Allow-Credentials"] = ["true"]
