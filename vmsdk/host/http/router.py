"""Which handler a request goes to, by the rules of each protocol version's node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from vmsdk.host.http import header
from vmsdk.host.http.backend import Backend
from vmsdk.host.http.endpoint import Endpoint
from vmsdk.host.http.request import Request, escape_path
from vmsdk.host.http.routes import ChainRoutes
from vmsdk.ids import ID
from vmsdk.protocol import Protocol

# Sources: api/server/router.go, HTTPHeaderRoute; api/server/http2_router.go of protocol 41;
# vms/proposervm/vm.go of protocol 44.
_ROUTE_HEADER = "Avalanche-Api-Route"
_CHAIN_HEADER = "Chain-Id"
_PROPOSERVM = "proposervm"


@dataclass(frozen=True)
class NodeResponse:
    """The node itself responds."""

    status: int
    text: str = ""
    """Plain text; if empty, there is no body."""
    location: str = ""


@dataclass(frozen=True)
class Handled:
    """The handler *backend* of *chain* responds."""

    chain: ChainRoutes
    backend: Backend


Destination: TypeAlias = NodeResponse | Handled | Endpoint

_NOT_FOUND = NodeResponse(404, "404 page not found")
_BOOTSTRAPPING = NodeResponse(503, "API call rejected because chain is not done bootstrapping")
_NO_CHAIN = NodeResponse(503, "no chain is running here: it is starting or has stopped; try again soon")
_NO_PROPOSERVM = NodeResponse(404, "this is a development host: it has no proposervm")


class Router:
    """Holds the chains, which may change at any time, and the node's own endpoints."""

    def __init__(self, protocol: Protocol, endpoints: Mapping[str, Endpoint]) -> None:
        self._protocol = protocol
        self._endpoints = endpoints
        self._chains: tuple[ChainRoutes, ...] = ()

    def add(self, chain: ChainRoutes) -> None:
        """Add a chain. Raises `ValueError` if one of its names is taken."""
        taken = {base for other in self._chains for base in other.bases}
        for base in chain.bases:
            if base in taken:
                raise ValueError(f"{base} belongs to another chain: remove that one or use another alias")
        self._chains += (chain,)

    def chain(self, chain_id: ID) -> ChainRoutes:
        """Return the chain with this ID. Raises `KeyError`."""
        for chain in self._chains:
            if chain.chain_id == chain_id:
                return chain
        raise KeyError(f"no chain {chain_id} was added to the HTTP front")

    def remove(self, chain: ChainRoutes) -> None:
        self._chains = tuple(other for other in self._chains if other is not chain)

    def clear(self) -> tuple[ChainRoutes, ...]:
        """Remove all chains; returns them."""
        chains, self._chains = self._chains, ()
        return chains

    def resolve(self, request: Request) -> Destination:
        """Return what responds to *request*."""
        if self._protocol.http2_method == "NewHTTPHandler":
            values = request.header.get(_ROUTE_HEADER)
            if values is not None:
                return self._by_route_header(values)
        elif self._protocol.http2_method == "CreateHTTP2Handler" and request.major == 2:
            return self._by_chain_header(header.first(request.header, _CHAIN_HEADER))
        return self._by_path(request)

    def _by_path(self, request: Request) -> Destination:
        url = request.url
        if url.clean_path != url.path:
            return NodeResponse(301, location=f"{escape_path(url.clean_path)}?{url.raw_query}".rstrip("?"))
        endpoint = self._endpoints.get(url.path)
        if endpoint is not None:
            return endpoint
        for chain in self._chains:
            if self._protocol.proposervm_api and url.path in [f"{b}/{_PROPOSERVM}" for b in chain.bases]:
                return _NO_PROPOSERVM if chain.is_normal_op else _BOOTSTRAPPING
            backend = chain.find(url.path)
            if backend is not None:
                return Handled(chain, backend) if chain.is_normal_op else _BOOTSTRAPPING
        return _NOT_FOUND if self._chains else _NO_CHAIN

    def _by_chain_header(self, name: str) -> Destination:
        """Protocol 41 routes HTTP/2 by a header alone."""
        if not name:
            return NodeResponse(400)
        chain = self._by_id(name)
        if chain is None or chain.header_backend is None:
            return NodeResponse(404)
        return Handled(chain, chain.header_backend) if chain.is_normal_op else _BOOTSTRAPPING

    def _by_route_header(self, values: list[str]) -> Destination:
        """From protocol 42 on, the header's first value is the chain's ID."""
        has_proposervm = self._protocol.proposervm_api
        if not has_proposervm and len(values) != 1:
            return NodeResponse(400)
        chain = self._by_id(values[0])
        if chain is None:
            return NodeResponse(404)
        if has_proposervm and values[1:] == [_PROPOSERVM]:
            return _NO_PROPOSERVM if chain.is_normal_op else _BOOTSTRAPPING
        if has_proposervm and not chain.is_normal_op:
            return _BOOTSTRAPPING
        if len(values) > 1 or chain.header_backend is None:
            return NodeResponse(404)
        return Handled(chain, chain.header_backend) if chain.is_normal_op else _BOOTSTRAPPING

    def _by_id(self, name: str) -> ChainRoutes | None:
        return next((chain for chain in self._chains if str(chain.chain_id) == name), None)
