"""The protocol versions that vmsdk speaks, and what differs between them.

A node accepts a plugin only if both have the same protocol number. Only this module compares
version numbers: everything else asks a `Protocol` for a property by name. A new protocol is a new
row of `PROTOCOLS`, and a new property for whatever it changes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from vmsdk.errors import UnsupportedProtocol

HTTP2Method = Literal["CreateHTTP2Handler", "NewHTTPHandler"]


class Protocol(NamedTuple):
    """What one protocol version has. Sources: the proto files of the releases in `releases`."""

    version: int
    """The number in the handshake."""

    releases: tuple[str, ...]
    """The node releases that speak it, as `name first` or `name first-last`."""

    @property
    def block_status(self) -> bool:
        """ParseBlock and GetBlock return the block's status (until 35)."""
        return self.version <= 35

    @property
    def cross_chain_messages(self) -> bool:
        """CrossChainApp… messages exist on both sides (until 36)."""
        return self.version <= 36

    @property
    def network_upgrades(self) -> bool:
        """Initialize carries the network's upgrade times (from 37)."""
        return self.version >= 37

    @property
    def current_validators(self) -> bool:
        """GetCurrentValidatorSet and the validator fields 4 to 8 exist (from 38)."""
        return self.version >= 38

    @property
    def inline_http_body(self) -> bool:
        """`Handle` receives the whole request body and returns nothing (until 39).

        From 40 on the body is read from the node's reader service, and the response holds the
        headers.
        """
        return self.version <= 39

    @property
    def replaces_http_headers(self) -> bool:
        """The node drops its own response headers for those that the VM returns (from 40)."""
        return self.version >= 40

    @property
    def http2_method(self) -> HTTP2Method | None:
        """The method that returns the VM's header-routed HTTP handler (new name from 42)."""
        if self.version >= 42:
            return "NewHTTPHandler"
        return "CreateHTTP2Handler" if self.version == 41 else None

    @property
    def handles_http2(self) -> bool:
        """The node sends HTTP/2 requests by `Handle` (from 41; by `HandleSimple` before)."""
        return self.version >= 41

    @property
    def simple_response_headers(self) -> bool:
        """`HandleSimple` receives the node's own response headers, and returns them (from 42)."""
        return self.version >= 42

    @property
    def text_io_errors(self) -> bool:
        """Reader and connection services report errors as text (until 41), later as messages."""
        return self.version <= 41

    @property
    def waits_for_events(self) -> bool:
        """The node asks for events by WaitForEvent (from 42; before, the VM calls Notify)."""
        return self.version >= 42

    @property
    def warp_validator_sets(self) -> bool:
        """GetWarpValidatorSets exists (from 44)."""
        return self.version >= 44

    @property
    def warp_validator_set(self) -> bool:
        """GetWarpValidatorSet, for one subnet, exists (44 only)."""
        return self.version == 44

    def knows_upgrade(self, upgrade: str) -> bool:
        """Initialize has the time of *upgrade*: fortuna, granite, helicon (older ones: from 37)."""
        return self.version >= _UPGRADES[upgrade][0]

    def activates_upgrade(self, upgrade: str) -> bool:
        """*upgrade* (etna or one of the above) is active from the start on local networks."""
        active_since = _UPGRADES[upgrade][1]
        return active_since is not None and self.version >= active_since

    @property
    def proposervm_api(self) -> bool:
        """The node adds its proposervm's handler, by path and header, to each chain (from 44)."""
        return self.version >= 44

    @property
    def plugin_metrics_prefix(self) -> str:
        """What the node's metrics page puts between VM ID and metric names (only in 35)."""
        return "plugin_" if self.version <= 35 else ""

    @property
    def mismatch_names_path(self) -> bool:
        """The node's error for a refused handshake has the plugin's path (from 36)."""
        return self.version >= 36


# The first protocol that has an upgrade's time, and the first whose newest release has it active.
# Source: proto/vm/vm.proto and upgrade/upgrade.go of the releases.
_UPGRADES: dict[str, tuple[int, int | None]] = {
    "etna": (37, 38),
    "fortuna": (39, 39),
    "granite": (40, 44),
    "helicon": (44, None),
}

# Source: version/compatibility.json and version/constants.go of every release tag.
PROTOCOLS: dict[int, Protocol] = {
    protocol.version: protocol
    for protocol in (
        Protocol(35, ("AvalancheGo 1.11.3-1.11.9", "MetalGo 1.11.3-1.11.9")),
        Protocol(36, ("AvalancheGo 1.11.10",)),
        Protocol(37, ("AvalancheGo 1.11.11-1.11.12", "MetalGo 1.11.12")),
        Protocol(38, ("AvalancheGo 1.11.13-1.12.1", "MetalGo 1.11.13-1.12.0")),
        Protocol(39, ("AvalancheGo 1.12.2-1.13.0", "MetalGo 1.12.2")),
        Protocol(40, ("AvalancheGo 1.13.1",)),
        Protocol(41, ("AvalancheGo 1.13.2",)),
        Protocol(42, ("AvalancheGo 1.13.3",)),
        Protocol(43, ("AvalancheGo 1.13.4-1.13.5", "MetalGo 1.13.5")),
        Protocol(44, ("AvalancheGo 1.14.0-1.14.1",)),
        Protocol(45, ("AvalancheGo 1.14.2", "MetalGo 1.14.2")),
        Protocol(46, ("AvalancheGo 1.15.0-fuji",)),
    )
}

DEFAULT_PROTOCOL = 45
"""The newest protocol of a regular release, used by default. No regular release speaks 46."""

OLDEST = min(PROTOCOLS)
NEWEST = max(PROTOCOLS)
RANGE = f"{OLDEST} to {NEWEST}"
"""The range of versions, for messages."""


def protocol(version: int) -> Protocol:
    """The protocol with this number. Raises `UnsupportedProtocol` if vmsdk does not speak it."""
    try:
        return PROTOCOLS[version]
    except KeyError:
        raise UnsupportedProtocol(version, oldest=OLDEST, newest=NEWEST) from None
