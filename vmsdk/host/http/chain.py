"""A chain's handlers, as the node's API server has them registered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence

from vmsdk.host.http.backend import Backend
from vmsdk.host.http.route import RouteRefused, check_prefix, compile_template
from vmsdk.host.http.takenover import TakenOver
from vmsdk.ids import ID
from vmsdk.protocol import Protocol

PROPOSERVM_PREFIX = "/proposervm"
"""From protocol 44 on the node's own proposervm has this prefix, whatever the VM says."""

Handlers = Mapping[str, str] | Iterable[tuple[str, str]]


class Chain:
    """Where the requests for one chain go."""

    def __init__(
        self,
        protocol: Protocol,
        chain_id: ID,
        aliases: Sequence[str],
        handlers: Handlers,
        http_handler: str,
    ) -> None:
        self.chain_id = chain_id
        self.bases = tuple(f"/ext/bc/{name}" for name in (str(chain_id), *aliases))
        self.is_normal_op = False
        self.taken_over = TakenOver(protocol)
        self.refused: list[RouteRefused] = []
        self._backends: dict[str, Backend] = {}
        pairs = handlers.items() if isinstance(handlers, Mapping) else handlers
        self.routes = self._compile(dict(pairs))
        self.header_backend = self._backend(http_handler) if http_handler else None

    def find(self, path: str) -> Backend | None:
        """The handler of this unescaped *path*."""
        for base in self.bases:
            if path.startswith(base):
                rest = path[len(base) :]
                for pattern, backend in self.routes:
                    if pattern.fullmatch(rest):
                        return backend
        return None

    def is_proposervm(self, path: str) -> bool:
        return any(path == base + PROPOSERVM_PREFIX for base in self.bases)

    async def close(self) -> None:
        """Cancel what runs, close connections that the VM has taken over, disconnect."""
        await self.taken_over.close()
        await asyncio.gather(*(backend.close() for backend in self._backends.values()))

    def _compile(self, handlers: Mapping[str, str]) -> list[tuple[re.Pattern[str], Backend]]:
        routes = []
        for prefix, address in handlers.items():
            try:
                check_prefix(prefix)
                routes.append((compile_template(prefix), self._backend(address)))
            except RouteRefused as refused:
                self.refused.append(refused)
        return routes

    def _backend(self, address: str) -> Backend:
        return self._backends.setdefault(address, Backend(address))
