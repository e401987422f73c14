"""The releases of nodes whose plugin-host library the tests run against."""

from __future__ import annotations

from dataclasses import dataclass

AVALANCHEGO = "github.com/ava-labs/avalanchego"
METALGO = "github.com/MetalBlockchain/metalgo"

# Releases up to this protocol ask for a blst that does not compile with Go 1.26; its next patch
# release does.
LAST_PROTOCOL_WITH_OLD_BLST = 39
BLST = "github.com/supranational/blst v0.3.14"

OLDEST_PROTOCOL = 35


@dataclass(frozen=True)
class Node:
    """One release of a node."""

    name: str
    """What tests and the builder call it: its protocol version, or a word where that is taken."""

    protocol: int
    """The rpcchainvm protocol version that it speaks."""

    module: str
    """Path of its Go module."""

    version: str
    """Version of its Go module."""

    go: str = "1.24.0"
    """The Go version that a module which requires it must ask for."""

    @property
    def application(self) -> str:
        """Name of the client, as the node tells it."""
        return self.module.rsplit("/", 1)[1]

    @property
    def tags(self) -> tuple[str, ...]:
        """Go build tags: one for each protocol version that it has reached, since the oldest."""
        return tuple(f"p{n}plus" for n in range(OLDEST_PROTOCOL + 1, self.protocol + 1))

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the `go.mod` of a program that uses it requires."""
        own = f"{self.module} {self.version}"
        return (own, BLST) if self.protocol <= LAST_PROTOCOL_WITH_OLD_BLST else (own,)


NODES = {
    node.name: node
    for node in (
        Node("35", 35, AVALANCHEGO, "v1.11.9"),
        Node("36", 36, AVALANCHEGO, "v1.11.10"),
        Node("37", 37, AVALANCHEGO, "v1.11.12"),
        Node("38", 38, AVALANCHEGO, "v1.12.1"),
        Node("39", 39, AVALANCHEGO, "v1.12.2"),
        Node("metalgo", 39, METALGO, "v1.12.2"),
        Node("40", 40, AVALANCHEGO, "v1.13.1"),
        Node("41", 41, AVALANCHEGO, "v1.13.2"),
        Node("42", 42, AVALANCHEGO, "v1.13.3"),
        Node("43", 43, AVALANCHEGO, "v1.13.5"),
        # The first release of protocol 44 tells fewer network upgrades than the second.
        Node("44-first", 44, AVALANCHEGO, "v1.14.0"),
        Node("44", 44, AVALANCHEGO, "v1.14.1"),
        Node("45", 45, AVALANCHEGO, "v1.14.2", go="1.25.8"),
    )
}
"""Every release under test, by name, oldest protocol first."""

NEWEST = NODES["45"]
