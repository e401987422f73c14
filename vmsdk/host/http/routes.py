"""The routes of one chain: which prefixes a node accepts, and which paths they match.

A node hands each `/ext/bc/<chain><prefix>` to gorilla/mux as a template. A template matches the
whole path; `{name}` stands for one segment, `{name:pattern}` for what the regular expression
matches.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from vmsdk.host.http.backend import Backend
from vmsdk.host.http.hijack import HijackedConnections
from vmsdk.host.http.request import MalformedURL, parse_target
from vmsdk.ids import ID
from vmsdk.protocol import Protocol

Handlers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
"""host:port by prefix."""

# Go's "$" matches only at the end of a text, Python's also before a final line break.
_GO_END = re.compile(r"(?<!\\)\$$")


class RouteRefused(ValueError):
    """A node refuses to serve *prefix*."""

    def __init__(self, prefix: str, reason: str) -> None:
        self.prefix = prefix
        super().__init__(f"could not add route to chain's API handler: {reason}")


class ChainRoutes:
    """Finds the handlers of one chain. Those whose prefix a node refuses are in `refused`."""

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
        self.hijacked = HijackedConnections(protocol)
        self.refused: list[RouteRefused] = []
        self._backends: dict[str, Backend] = {}
        self._routes: list[tuple[re.Pattern[str], Backend]] = []
        for prefix, address in dict(handlers).items():
            try:
                self._routes.append((compile_template(prefix), self._backend(address)))
            except RouteRefused as refused:
                self.refused.append(refused)
        self.header_backend = self._backend(http_handler) if http_handler else None

    def find(self, path: str) -> Backend | None:
        """Return the handler for an unescaped *path*."""
        for base in self.bases:
            if path.startswith(base):
                for pattern, backend in self._routes:
                    if pattern.fullmatch(path, len(base)):
                        return backend
        return None

    async def close(self) -> None:
        """Cancel running calls, close hijacked connections, and disconnect."""
        await self.hijacked.close()
        await asyncio.gather(*(backend.close() for backend in self._backends.values()))

    def _backend(self, address: str) -> Backend:
        return self._backends.setdefault(address, Backend(address))


def compile_template(prefix: str) -> re.Pattern[str]:
    """Return a pattern for the part of a path after the chain.

    Raises `RouteRefused` for a prefix that is not a request target, or a template that never
    matches or crashes a node: unbalanced braces, a missing name or pattern, a repeated name, a
    pattern that is invalid or has a capturing group.
    """
    try:
        if prefix:
            parse_target(prefix)
    except MalformedURL as error:
        raise RouteRefused(prefix, f"route is malformed: {error}") from None
    pattern, end = "", 0
    names: set[str] = set()
    for start, stop in _variables(prefix):
        name, colon, expression = prefix[start + 1 : stop - 1].partition(":")
        if not name or (colon and not expression):
            raise RouteRefused(prefix, f'mux: missing name or pattern in "{prefix[start:stop]}"')
        if name in names:
            raise RouteRefused(prefix, f'mux: duplicated route variable "{name}"')
        names.add(name)
        pattern += re.escape(prefix[end:start]) + f"(?:{_checked(prefix, expression or '[^/]+')})"
        end = stop
    return re.compile(pattern + re.escape(prefix[end:]))


def without_patterns(template: str) -> str:
    """Replace each `{name:pattern}` with `{name}`. Raises `RouteRefused` for unbalanced braces."""
    text, end = "", 0
    for start, stop in _variables(template):
        name = template[start + 1 : stop - 1].partition(":")[0]
        text += f"{template[end:start]}{{{name}}}"
        end = stop
    return text + template[end:]


def _variables(prefix: str) -> Iterator[tuple[int, int]]:
    """Yield where each outermost pair of braces begins and ends."""
    level = start = 0
    for index, character in enumerate(prefix):
        if character == "{":
            if level == 0:
                start = index
            level += 1
        elif character == "}":
            level -= 1
            if level < 0:
                break
            if level == 0:
                yield start, index + 1
    if level:
        raise RouteRefused(prefix, f'mux: unbalanced braces in "{prefix}"')


def _checked(prefix: str, expression: str) -> str:
    expression = _GO_END.sub(r"\\Z", expression)
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise RouteRefused(prefix, f"error parsing regexp: {error}") from None
    if compiled.groups:
        raise RouteRefused(
            prefix,
            f"route {prefix} contains capture groups in its regexp. Only non-capturing groups are "
            "accepted: e.g. (?:pattern) instead of (pattern)",
        )
    return expression
