"""Which protocol version to speak: it can't be negotiated, and a wrong one ends the plugin."""

from __future__ import annotations

from vmsdk.protocol import NEWEST, Protocol, protocol


def choose(argument: int | None) -> Protocol:
    """The version given by the caller, else the newest. Raises `UnsupportedProtocol`."""
    return protocol(NEWEST if argument is None else argument)
