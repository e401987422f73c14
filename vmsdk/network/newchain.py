"""What a chain is made from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from vmsdk.network import plugin
from vmsdk.network.errors import InvalidArgument
from vmsdk.network.transactions import MAX_GENESIS_BYTES
from vmsdk.target import find

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NODES_ALIASES = frozenset({"p", "x", "c", "platform", "avm", "evm"})


@dataclass(frozen=True)
class NewChain:
    """A chain to be made.

    Raises:
        TargetError: there is no such VM.
        InvalidVMName: the VM's name cannot be one.
        InvalidArgument: a name that cannot be one, or a genesis that is too long.
    """

    target: str
    """The VM: `path/vm.py`, `path/vm.py:Class`, `package.module:Class`, or the path of a plugin's executable in any language."""
    name: str = ""
    """Letters, digits, `-` and `_`; by default the VM's name. The chain's URLs end with it."""
    vm_name: str = ""
    """1 to 32 ASCII characters, which give the VM's ID; by default made from the target."""
    genesis: bytes = b""
    """What `initialize` gets, at most 255 KiB."""
    config: bytes | None = None
    """What `initialize` gets as configuration, on every node."""
    upgrade: bytes | None = None
    """What `initialize` gets as upgrades, on every node."""

    def __post_init__(self) -> None:
        found = find(self.target)
        object.__setattr__(self, "target", plugin.absolute(found))
        vm_name = self.vm_name or plugin.default_name(found)
        object.__setattr__(self, "vm_name", vm_name)
        object.__setattr__(self, "name", self.name or vm_name)
        plugin.id_of(found, vm_name)
        check_name("chain", self.name)
        if self.name.lower() in _NODES_ALIASES:
            raise InvalidArgument(f"a chain cannot be called {self.name!r}, because a chain of every node is")
        if len(self.genesis) > MAX_GENESIS_BYTES:
            raise InvalidArgument(
                f"the genesis has {len(self.genesis)} bytes and nodes take at most {MAX_GENESIS_BYTES}: keep the rest elsewhere"
            )

    @property
    def genesis_hash(self) -> str:
        return hashlib.sha256(self.genesis).hexdigest()


def check_name(what: str, name: str) -> None:
    """Raises `InvalidArgument` for a name that cannot be part of a URL and of a path. `what` is a network or a chain."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"a {what} cannot be called {name!r}: up to 64 letters, digits, - and _ make a name"
        )
