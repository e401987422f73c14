"""What a node's API server does around the chains' handlers: its headers, its rules, its own answers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

from vmsdk.host.http import cors, handle, simple
from vmsdk.host.http.endpoint import Endpoint
from vmsdk.host.http.header import first
from vmsdk.host.http.request import Request
from vmsdk.host.http.response import ResponseWriter
from vmsdk.host.http.router import Answer, Handled, Router
from vmsdk.ids import NodeID
from vmsdk.protocol import Protocol

log = logging.getLogger(__name__)

ALLOWED_HOSTS = ("localhost",)
"""Host names, besides IP addresses, under which a node answers. Source: config/flags.go, http-allowed-hosts."""


@dataclass(frozen=True)
class Access:
    """One request and what became of it."""

    method: str
    target: str
    """The raw request target: path and query."""
    version: str
    """`HTTP/1.1` or `HTTP/2.0`."""
    remote_address: str
    """host:port."""
    status: int
    """0 if the client hung up before there was one; 101 if the VM took the connection over."""
    body_bytes: int
    """Of the response, before framing; what a VM writes to a connection that it took over is not counted."""
    duration_s: float
    """Until the handler was done."""


OnAccess: TypeAlias = Callable[[Access], None]


class API:
    """Answers every request that reaches the node."""

    def __init__(
        self,
        protocol: Protocol,
        node_id: NodeID,
        router: Router,
        executor: Executor,
        on_access: OnAccess | None,
        allowed_hosts: Collection[str],
    ) -> None:
        self._protocol = protocol
        self._node_id = str(node_id)
        self._router = router
        self._executor = executor
        self._on_access = on_access
        self._allowed_hosts = {host.lower() for host in allowed_hosts}

    async def __call__(self, request: Request, writer: ResponseWriter) -> None:
        start_s = time.perf_counter()
        status = 0
        try:
            await self._answer(request, writer)
            status = 101 if writer.hijacked else writer.status or 200
        finally:
            self._tell(request, status or writer.status, writer.written, time.perf_counter() - start_s)

    async def _answer(self, request: Request, writer: ResponseWriter) -> None:
        writer.header["Node-Id"] = [self._node_id]
        if cors.is_preflight(request.method, request.header):
            cors.preflight(request.header, writer.header)
            await writer.write_header(200)
            return
        cors.actual(request.method, request.header, writer.header)
        if not self._is_allowed(request.host):
            await writer.error("invalid host specified", 403)
            return
        destination = self._router.resolve(request)
        if isinstance(destination, Answer):
            await _answer(writer, destination)
        elif isinstance(destination, Handled):
            await self._forward(destination, request, writer)
        else:
            await self._ask(destination, writer)

    async def _forward(self, to: Handled, request: Request, writer: ResponseWriter) -> None:
        if is_handled(self._protocol, request):
            await handle.serve(to.backend, request, writer, self._protocol, to.chain.taken_over.serve)
        else:
            await simple.serve(to.backend, request, writer, self._protocol)

    async def _ask(self, endpoint: Endpoint, writer: ResponseWriter) -> None:
        reply = await asyncio.get_running_loop().run_in_executor(self._executor, endpoint)
        writer.header["Content-Type"] = [reply.content_type]
        writer.header["Content-Length"] = [str(len(reply.body))]
        await writer.write_header(reply.status)
        await writer.write(reply.body)

    def _is_allowed(self, host: str) -> bool:
        """Names other than the allowed ones are refused: a page elsewhere could give our address such a name."""
        name = _without_port(host)
        if not name or name.lower() in self._allowed_hosts or "*" in self._allowed_hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _tell(self, request: Request, status: int, body_bytes: int, duration_s: float) -> None:
        if self._on_access is None:
            return
        access = Access(
            request.method,
            request.target,
            request.version,
            request.remote_address,
            status,
            body_bytes,
            duration_s,
        )
        try:
            self._on_access(access)
        except Exception:
            log.exception("the access callback failed on %s", access)


def is_handled(protocol: Protocol, request: Request) -> bool:
    """The request goes by `Handle`; else by `HandleSimple`."""
    return bool(first(request.header, "Upgrade")) or (protocol.handles_http2 and request.major == 2)


async def _answer(writer: ResponseWriter, answer: Answer) -> None:
    if answer.location:
        writer.header["Location"] = [answer.location]
    if answer.text:
        await writer.error(answer.text, answer.status)
    else:
        await writer.write_header(answer.status)


def _without_port(host: str) -> str:
    name, colon, _ = host.rpartition(":")
    if not colon or (":" in name and not name.startswith("[")) or host.endswith("]"):
        name = host
    return name.removeprefix("[").removesuffix("]")
