"""The address of the node's runtime engine, which waits for a plugin's handshake.

A separate file because gRPC, which the handshake imports, is slow to import.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmsdk.errors import VMError

ENGINE_ADDRESS_VARIABLE = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
"""The only variable that a node sets for its plugins. MetalGo uses the same name."""

INSTALL_COMMAND = "vmsdk install TARGET --plugin-dir DIR"
"""How to install a VM whose target is unknown."""


def engine_address(environment: Mapping[str, str], name: str, install_command: str = INSTALL_COMMAND) -> str:
    """Return the address at which the node waits. Raises `VMError` if no node is the parent."""
    address = environment.get(ENGINE_ADDRESS_VARIABLE, "")
    if not address:
        raise VMError(
            f"{name} is a VM plugin, which a node starts (required env var missing: "
            f'"{ENGINE_ADDRESS_VARIABLE}"). To run it without a node: vmsdk dev TARGET. To run it on a node: '
            f"{install_command}"
        )
    return address
