"""Checks of the plugin contract: how they are defined, and what they raise."""

from __future__ import annotations

import enum
import importlib
import pkgutil
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, TypeAlias

from vmsdk.errors import VMError
from vmsdk.protocol import PROTOCOLS

CheckFunction: TypeAlias = Callable[[Any], None]
"""Takes a `Bench`. Raises `Violation`, `Skipped`, or an error of the host."""

FROM_42 = range(42, max(PROTOCOLS) + 1)
"""The protocols whose nodes call WaitForEvent."""

# The node's Go source files on which several areas rely.
CHAIN_STATE = "vms/components/chain/state.go"
ENGINE = "snow/engine/snowman/engine.go"
GRPC_SERVER = "vms/rpcchainvm/grpcutils/server.go"
NOTIFIER = "snow/engine/common/notifier.go"
ROUTER = "snow/networking/router/chain_router.go"
RUNTIME = "vms/rpcchainvm/runtime/subprocess/runtime.go"
STOPPER = "vms/rpcchainvm/runtime/subprocess/linux_stopper.go"
TOPOLOGICAL = "snow/consensus/snowman/topological.go"
VM_CLIENT = "vms/rpcchainvm/vm_client.go"
VM_GO = "vms/rpcchainvm/vm.go"
VM_SERVER = "vms/rpcchainvm/vm_server.go"

AREAS = (
    "handshake",
    "life",
    "blocks",
    "ancestors",
    "heights",
    "events",
    "durability",
    "statesync",
    "database",
    "messages",
    "http",
    "metrics",
    "limits",
)
"""The areas of the contract, in the order in which their checks run."""


class Severity(enum.Enum):
    """What a violation leads to on a network."""

    STOPS = "stops"
    """The node stops the chain, or the plugin."""
    MISBEHAVES = "misbehaves"
    """The chain continues, but with wrong results."""
    BETTER_NOT = "better not"
    """Nothing breaks today."""


class Violation(VMError):
    """The plugin breaks the contract.

    *sent* is what the host did, *got* what the plugin returned, *node* what a node does about it,
    and *cure* what its author can do. Each is a phrase, or empty.
    """

    def __init__(
        self, message: str, *, sent: str = "", got: str = "", node: str = "", cure: str = ""
    ) -> None:
        self.message = message
        self.sent = sent
        self.got = got
        self.node = node
        self.cure = cure
        super().__init__(message)


class Skipped(VMError):
    """A check does not apply to this plugin. *why* is shown to the user."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@dataclass(frozen=True)
class Check:
    """One rule of the contract, and how it is checked."""

    name: str
    """The area and the rule, such as `blocks.parse-is-pure`."""
    reason: str
    """The rule in one line."""
    severity: Severity
    source: str
    """The node's Go source file that relies on the rule."""
    protocols: Container[int]
    """The protocol versions that have the rule."""
    needs_blocks: bool
    """Whether it needs blocks beyond the genesis."""
    slow: bool
    """Whether it takes more than some seconds, and runs only on request."""
    function: CheckFunction

    @property
    def area(self) -> str:
        """The part of the contract."""
        return self.name.partition(".")[0]


CHECKS: dict[str, Check] = {}
"""The checks of the areas that have been imported, by name."""


def contract(
    area: str,
    *,
    severity: Severity,
    source: str,
    protocols: Container[int] = PROTOCOLS.keys(),
    needs_blocks: bool = False,
    slow: bool = False,
) -> Callable[[CheckFunction], CheckFunction]:
    """Make a function a check. The first line of its docstring is the reason."""

    def register(function: CheckFunction) -> CheckFunction:
        name = f"{area}.{function.__name__.replace('_', '-')}"
        reason = (function.__doc__ or "").strip().partition("\n")[0]
        assert area in AREAS, f"there is no area {area}"
        assert reason, f"the check {name} has no docstring"
        known = CHECKS.get(name)
        assert known is None or known.function.__module__ == function.__module__, f"{name} exists twice"
        CHECKS[name] = Check(name, reason, severity, source, protocols, needs_blocks, slow, function)
        return function

    return register


def all_checks() -> list[Check]:
    """Import every area, and return its checks in the order in which they run."""
    areas = importlib.import_module("vmsdk.testing.areas")
    for module in pkgutil.iter_modules(areas.__path__):
        importlib.import_module(f"{areas.__name__}.{module.name}")
    return sorted(CHECKS.values(), key=lambda check: AREAS.index(check.area))
