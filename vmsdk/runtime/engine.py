"""The engine: what waits, inside the node, for the plugin that it has started."""

from __future__ import annotations

from collections.abc import Mapping

from vmsdk.runtime.exits import CannotServe

ENGINE_ADDRESS_VARIABLE = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
"""The one variable that a node gives its plugins; MetalGo uses the same name."""

INSTALL_COMMAND = "vmsdk install TARGET --name NAME --plugin-dir DIR"
"""What people type to have a VM on a node, where its target and name aren't known."""


class NotStartedByNode(CannotServe):
    """The engine's address is missing: a person started the plugin, not a node."""

    def __init__(self, name: str, install_command: str = INSTALL_COMMAND) -> None:
        self.name = name
        super().__init__(
            f"{name} is a VM plugin, and no node started it ({ENGINE_ADDRESS_VARIABLE} is not set: "
            f'required env var missing: "{ENGINE_ADDRESS_VARIABLE}"). To run it without a node: '
            f"vmsdk dev TARGET. To run it on a node: {install_command}"
        )


def engine_address(environment: Mapping[str, str], name: str, install_command: str = INSTALL_COMMAND) -> str:
    """The address at which the node waits. Raises `NotStartedByNode` when there is none."""
    address = environment.get(ENGINE_ADDRESS_VARIABLE, "")
    if not address:
        raise NotStartedByNode(name, install_command)
    return address
