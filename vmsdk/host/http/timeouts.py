"""How long a node's HTTP server waits for a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """The defaults are a node's. Source: config/flags.go, http-read-timeout and its neighbours."""

    read_s: float = 30.0
    """For a whole request, its body included."""
    write_s: float = 30.0
    """For a whole response, from the end of the request's headers on. Taken-over connections have none."""
    idle_s: float = 120.0
    """For the next request on an open connection."""
