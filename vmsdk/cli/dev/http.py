"""The HTTP side of `vmsdk dev`, which outlives the VM's processes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vmsdk import protocol
from vmsdk.cli.dev.screen import Screen
from vmsdk.host.chain import Chain
from vmsdk.host.config import ChainConfig
from vmsdk.host.http import HTTPFront, RouteRefused, endpoint
from vmsdk.host.http.endpoint import Endpoint
from vmsdk.host.http.front import WRITE_TIMEOUT_S
from vmsdk.host.http.routes import compile_template, without_patterns
from vmsdk.host.identity import DEFAULT_NODE_ID
from vmsdk.host.nodeapi import NodeAPI
from vmsdk.ids import ID

_JSON_RPC = '{"jsonrpc":"2.0","id":1,"method":"METHOD","params":{}}'
# How much to show of texts that clients choose.
_MAX_METHOD = 20
_MAX_TARGET = 200


class ChainHTTP:
    """Serves the chain's handlers on *port*, and the node's own services and pages.

    While no chain is open, other requests get status 503, as from a node that is starting. If
    *has_timeouts* is false, a response may take any time.
    """

    def __init__(
        self,
        version: int,
        port: int,
        screen: Screen,
        endpoints: Mapping[str, Endpoint] = MappingProxyType({}),
        *,
        has_timeouts: bool = True,
    ) -> None:
        self._screen = screen
        self._lock = threading.Lock()
        self._chain: Chain | None = None
        self._ending: ID | None = None
        self._hinted: set[str] = set()
        self._front = HTTPFront(
            protocol.protocol(version),
            DEFAULT_NODE_ID,
            port=port,
            on_access=self._show,
            write_timeout_s=WRITE_TIMEOUT_S if has_timeouts else threading.TIMEOUT_MAX,
            endpoints={
                "/ext/metrics": endpoint.metrics(self._gather),
                **NodeAPI(ChainConfig(protocol=protocol.protocol(version)), self._running).endpoints(),
                **endpoints,
            },
        )

    def start(self) -> None:
        """Listen. Raises `HostError` if the port is in use."""
        self._front.start()

    def stop(self) -> None:
        """Close all connections. Idempotent."""
        self._front.stop()

    def open(self, chain: Chain) -> list[RouteRefused]:
        """Serve *chain*, and return the prefixes that a node would not serve."""
        chain_id = chain.config.chain_id
        aliases = [] if chain.config.alias is None else [chain.config.alias]
        refused = self._front.add_chain(chain_id, aliases, chain.handlers, chain.http_handler)
        self._front.set_normal_op(chain_id, True)
        with self._lock:
            self._chain = chain
        return refused

    def pause(self) -> None:
        """Refuse requests, since the chain's process is about to end and close its WebSockets."""
        with self._lock:
            chain, self._chain = self._chain, None
        if chain is not None:
            self._ending = chain.config.chain_id
            self._front.set_normal_op(self._ending, False)

    def close(self) -> None:
        """Close the connections that the chain's process left open, if there was one."""
        if self._ending is not None:
            self._front.remove_chain(self._ending)
            self._ending = None

    def url(self, chain: Chain) -> str:
        """Return the URL of *chain*, to which the prefixes of its handlers are appended."""
        return f"http://{self._front.address}/ext/bc/{chain.config.alias or chain.config.chain_id}"

    def streams(self, chain: Chain) -> int:
        """Count the connections that *chain* has taken over, such as WebSockets."""
        try:
            return self._front.hijacked(chain.config.chain_id)
        except KeyError:
            return 0  # not open

    def _show(self, method: str, target: str, status: int) -> None:
        with self._lock:
            chain = self._chain
        if chain is not None and chain.strict is not None:
            chain.strict.heard()
        if status < 400:
            return
        self._screen.warning(f"HTTP {status}: {method[:_MAX_METHOD]} {target[:_MAX_TARGET]}")
        if status == 404 and chain is not None:
            names = (chain.config.alias, str(chain.config.chain_id))
            hint = subpaths_hint(target, names, list(chain.handlers))
            if hint and hint not in self._hinted:
                self._hinted.add(hint)
                self._screen.warning(hint)

    def _running(self) -> Chain | None:
        with self._lock:
            return self._chain

    def _gather(self) -> Any:
        chain = self._running()
        return () if chain is None else chain.gather()


def subpaths_hint(target: str, chain_names: Sequence[str | None], prefixes: Sequence[str]) -> str:
    """Explain a 404 below a handler that serves only its exact path. Returns "" for others."""
    path = target.partition("?")[0]
    for name in chain_names:
        base = f"/ext/bc/{name}"
        if not path.startswith(base + "/"):
            continue
        rest = path[len(base) :]
        if any(compile_template(prefix).fullmatch(rest) for prefix in prefixes):
            return ""  # the handler itself sent the 404
        for prefix in prefixes:
            below = prefix.rstrip("/") + "/"
            if "{" not in prefix and rest.startswith(below):
                return (
                    f"a node serves the handler at {prefix!r} only for exactly that path: return it from "
                    f"create_handlers with the key vmsdk.http.subpaths({prefix.rstrip('/')!r}) to serve the "
                    "paths below, too"
                )
    return ""


def path_to_open(prefix: str) -> str:
    """Return a path that the template *prefix* matches, if possible its constant part.

    Otherwise return the template without the patterns of its variables.
    """
    template = compile_template(prefix)
    constant = prefix.partition("{")[0]
    for path in (constant.rstrip("/") + "/", constant):
        if template.fullmatch(path):
            return path
    return without_patterns(prefix)


def example_calls(chain_url: str, prefixes: Sequence[str]) -> str:
    """Return commands to copy, one per line, for prefixes without variables.

    Which of them are JSON-RPC services isn't known here, but a service is never a template.
    """
    paths = [path for path in map(path_to_open, prefixes) if "{" not in path]
    lines = [f"curl {chain_url}{path}" for path in paths[:1]]
    exact = [prefix for prefix in prefixes if "{" not in prefix]
    for path in exact[:1]:
        lines.append("or, if it speaks JSON-RPC:")
        lines.append(f"curl -H 'content-type: application/json' {chain_url}{path} -d '{_JSON_RPC}'")
    return "\n".join(lines)
