"""Which handler a request goes to, by the rules of each protocol version's node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vmsdk.host.http import header
from vmsdk.host.http.backend import Backend
from vmsdk.host.http.chain import Chain
from vmsdk.host.http.endpoint import Endpoint
from vmsdk.host.http.request import Request
from vmsdk.ids import ID
from vmsdk.protocol import Protocol

# Sources: api/server/router.go, HTTPHeaderRoute; api/server/http2_router.go of protocol 41;
# vms/proposervm/vm.go of protocol 44.
_ROUTE_HEADER = "Avalanche-Api-Route"
_CHAIN_HEADER = "Chain-Id"
_PROPOSERVM = "proposervm"

_NO_PROPOSERVM = "this is a development host: it has no proposervm, and not its API"


@dataclass(frozen=True)
class Answer:
    """What the node answers by itself."""

    status: int
    text: str = ""
    """In plain text; empty: no body at all."""
    location: str = ""


@dataclass(frozen=True)
class Handled:
    """*backend* of *chain* answers."""

    chain: Chain
    backend: Backend


Destination: TypeAlias = Answer | Handled | Endpoint

_NOT_FOUND = Answer(404, "404 page not found")
_BOOTSTRAPPING = Answer(503, "API call rejected because chain is not done bootstrapping")


class ChainAlreadyServed(ValueError):
    """Two chains can't have one name. *name* is a chain ID or an alias."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"/ext/bc/{name} leads to another chain already: remove that one, or use another alias"
        )


class Router:
    """The chains, and the node's own endpoints by path. Safe to change while requests are routed."""

    def __init__(self, protocol: Protocol, endpoints: dict[str, Endpoint]) -> None:
        self._protocol = protocol
        self._endpoints = endpoints
        self._chains: tuple[Chain, ...] = ()

    def add(self, chain: Chain) -> None:
        """Raises `ChainAlreadyServed` if one of its names is taken."""
        taken = {base for other in self._chains for base in other.bases}
        for base in chain.bases:
            if base in taken:
                raise ChainAlreadyServed(base.rpartition("/")[2])
        self._chains += (chain,)

    def chain(self, chain_id: ID) -> Chain:
        """Raises `KeyError`."""
        for chain in self._chains:
            if chain.chain_id == chain_id:
                return chain
        raise KeyError(f"no chain {chain_id} was added to the HTTP front")

    def remove(self, chain: Chain) -> None:
        self._chains = tuple(other for other in self._chains if other is not chain)

    def clear(self) -> tuple[Chain, ...]:
        """Remove all; returns them."""
        chains, self._chains = self._chains, ()
        return chains

    def resolve(self, request: Request) -> Destination:
        """Who answers *request*."""
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
            return Answer(301, location=url.location(url.clean_path))
        endpoint = self._endpoints.get(url.path)
        if endpoint is not None:
            return endpoint
        for chain in self._chains:
            if self._protocol.proposervm_api and chain.is_proposervm(url.path):
                return Answer(404, _NO_PROPOSERVM) if chain.is_normal_op else _BOOTSTRAPPING
            backend = chain.find(url.path)
            if backend is not None:
                return Handled(chain, backend) if chain.is_normal_op else _BOOTSTRAPPING
        return _NOT_FOUND

    def _by_chain_header(self, name: str) -> Destination:
        """Protocol 41: HTTP/2 goes by the header alone."""
        if not name:
            return Answer(400)
        chain = self._by_id(name)
        if chain is None or chain.header_backend is None:
            return Answer(404)
        return Handled(chain, chain.header_backend) if chain.is_normal_op else _BOOTSTRAPPING

    def _by_route_header(self, values: list[str]) -> Destination:
        """From protocol 42 on: the header's first value is the chain's ID."""
        if not self._protocol.proposervm_api and len(values) != 1:
            return Answer(400)
        chain = self._by_id(values[0])
        if chain is None:
            return Answer(404)
        if not self._protocol.proposervm_api:
            if chain.header_backend is None:
                return Answer(404)
            return Handled(chain, chain.header_backend) if chain.is_normal_op else _BOOTSTRAPPING
        if not chain.is_normal_op:
            return _BOOTSTRAPPING
        if values[1:] == [_PROPOSERVM]:
            return Answer(404, _NO_PROPOSERVM)
        if len(values) > 1 or chain.header_backend is None:
            return Answer(404)
        return Handled(chain, chain.header_backend)

    def _by_id(self, name: str) -> Chain | None:
        return next((chain for chain in self._chains if str(chain.chain_id) == name), None)
