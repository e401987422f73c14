"""Chains: the VM that runs them, its plugin, and where nodes serve them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.ids import ID, vm_id
from vmsdk.install.installation import install, name_of
from vmsdk.install.plugindirectory import PluginDirectory
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import NetworkError, PluginFailed
from vmsdk.network.logs import end_of_chain
from vmsdk.network.node import Node
from vmsdk.network.state import ChainRecord
from vmsdk.network.wallet import MAX_GENESIS_BYTES
from vmsdk.target import ExecutableTarget, Target, find

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_NODES_ALIASES = frozenset({"p", "x", "c", "platform", "avm", "evm"})


@dataclass(frozen=True)
class NewChain:
    """A chain to create.

    Without *vm_name*, the VM's source is imported in a separate process. Raises `TargetError` if
    there is no such VM, `InstallError` if it can't be imported, `InvalidInput` or `NetworkError`
    for a name that is not allowed, and `NetworkError` for a genesis that is too long.
    """

    target: str
    """The VM: `path/vm.py`, `path/vm.py:Class`, `package.module:Class`, or an executable."""
    name: str = ""
    """Letters, digits, `-` and `_`; by default the VM's name. The chain's URLs end in it."""
    vm_name: str = ""
    """1 to 32 ASCII characters, from which the VM's ID is made.

    By default the class's name, as in `vmsdk install` and `vmsdk dev`.
    """
    genesis: bytes = b""
    """What `initialize` gets, at most 255 KiB."""
    config: bytes | None = None
    """What `initialize` gets as configuration, on every node."""
    upgrade: bytes | None = None
    """What `initialize` gets as upgrades, on every node."""

    def __post_init__(self) -> None:
        found = find(self.target)
        object.__setattr__(self, "target", absolute(found))
        vm_name = self.vm_name or default_name(found)
        object.__setattr__(self, "vm_name", vm_name)
        id_of(found, vm_name)
        object.__setattr__(self, "name", self.name or url_name(vm_name))
        check_name("chain", self.name)
        if self.name.lower() in _NODES_ALIASES:
            raise NetworkError(f"{self.name!r} can't name a new chain: every node has a chain of that name")
        if len(self.genesis) > MAX_GENESIS_BYTES:
            raise NetworkError(
                f"the genesis has {len(self.genesis)} bytes, and nodes accept at most {MAX_GENESIS_BYTES}: "
                "store the rest elsewhere"
            )

    @property
    def genesis_hash(self) -> str:
        return hashlib.sha256(self.genesis).hexdigest()


class Chain:
    """A chain, which each node of the network serves."""

    def __init__(self, record: ChainRecord) -> None:
        self._record = record

    def __repr__(self) -> str:
        return f"<Chain {self.name} {self.id}>"

    @property
    def name(self) -> str:
        """Its name, which is its alias in URLs."""
        return self._record.name

    @property
    def id(self) -> ID:
        return ID.from_string(self._record.chain_id)

    @property
    def vm_id(self) -> ID:
        return ID.from_string(self._record.vm_id)

    @property
    def target(self) -> str:
        """The VM that it was created from."""
        return self._record.target

    def url(self, node: Node) -> str:
        """Where the node serves the chain, such as `http://127.0.0.1:9650/ext/bc/timestampvm`."""
        return f"{node.uri}/ext/bc/{self.name}"

    def client(self, node: Node, path: str = "") -> JSONRPCClient:
        """A client of the JSON-RPC methods that the VM serves at `path` (`/rpc`) on the node."""
        return JSONRPCClient(self.url(node) + path)

    def height(self, node: Node) -> int:
        """The height of the last block that the node has accepted; 0 until it reports one.

        Raises `NodeUnreachable` if the node doesn't respond.
        """
        values = node.metrics("_snowman_last_accepted_height", chain=self.name)
        return int(values[0]) if values else 0

    def failure(self, node: Node) -> PluginFailed | None:
        """Why the chain has stopped on the node since the node's start, if it has."""
        return end_of_chain(f"the chain {self.name} failed on {node.name}", self.log(node))

    def log(self, node: Node) -> Path:
        """The node's log of the chain, with everything that the VM logs and prints."""
        return node.directory / "logs" / f"{self.name}.log"


def check_name(what: str, name: str) -> None:
    """Raise `NetworkError` unless `name` fits in a URL and a path. `what` is network or chain."""
    if not _NAME.fullmatch(name):
        raise NetworkError(f"{name!r} is not a valid {what} name: use up to 64 letters, digits, - and _")


def default_name(target: Target) -> str:
    """The VM's name, from its class or an executable's file name. Raises `InstallError`."""
    if isinstance(target, ExecutableTarget):
        # A file name may have characters that a VM's name can't have.
        return _NOT_IN_NAMES.sub("-", target.name).strip("-").lower()[: ID.LENGTH]
    return name_of(target)


def url_name(vm_name: str) -> str:
    """The default name of a chain of this VM. Raises `NetworkError` if it would be empty."""
    name = _NOT_IN_NAMES.sub("-", vm_name).strip("-_")
    if not name:
        raise NetworkError(
            f"the VM's name {vm_name!r} has no letter or digit for the chain's URL: "
            "name the chain with --name, or NewChain(name=…)"
        )
    return name


def absolute(target: Target) -> str:
    """The target's text, with an absolute path if it names a file."""
    if isinstance(target, ExecutableTarget):
        return str(target.file)
    if target.file is None:
        return target.text
    return str(target.file) if target.attribute is None else f"{target.file}:{target.attribute}"


def id_of(target: Target, name: str) -> ID:
    """The VM's ID: from its name, unless it is an executable whose file name is an ID."""
    if isinstance(target, ExecutableTarget):
        try:
            return ID.from_string(target.file.stem)
        except VMError:
            pass  # any other file name
    return vm_id(name)


def place(target: Target, name: str, plugin_dir: Path, protocol: int, flags: dict[str, str]) -> ID:
    """Put the VM's plugin into the directory, for nodes of that protocol with these flags.

    Returns the VM's ID. An executable is linked, so that a rebuilt one is used after a restart.
    Raises `VMError` if the VM can't be installed.
    """
    vm = id_of(target, name)
    if isinstance(target, ExecutableTarget):
        link = PluginDirectory(plugin_dir).file(vm)
        link.unlink(missing_ok=True)
        link.symlink_to(target.file)
    else:
        # Plugins don't inherit a node's environment, so the log level is in the file.
        level = flags.get("log-level", "info").upper()
        install(target.text, name=name, plugin_dir=plugin_dir, protocol=protocol, log_level=level)
    return vm
