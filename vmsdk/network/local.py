"""A local network of real nodes."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from vmsdk.network.binary import NodeBinary, file_limit
from vmsdk.network.chain import Chain
from vmsdk.network.chains import Chains, check_distinct
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import (
    InvalidArgument,
    NetworkExists,
    NodeNotRunning,
    NoSuchChain,
    NoSuchNode,
    WaitTimedOut,
)
from vmsdk.network.launch import READY_TIMEOUT_S
from vmsdk.network.newchain import NewChain
from vmsdk.network.node import Node
from vmsdk.network.pchain import PChain
from vmsdk.network.process import end_processes_in
from vmsdk.network.startup import Startup
from vmsdk.network.state import InvalidState, NetworkRecord, Store

_HEIGHT_POLL_S = 0.02
_MAX_PORT = 65535


class LocalNetwork:
    """Real nodes on this machine, with a chain of one's own on them.

    ```python
    with LocalNetwork("vm.py:TimestampVM", nodes=3) as network:
        chain = network.chain
        chain.client(network.nodes[0]).call("timestampvm.proposeBlock", data="0x…")
        network.wait_for_height(1)
        network.nodes[2].kill()
    ```

    Without a directory the network is a temporary one, gone with the `with` block or with this process. In a directory it stays:
    leaving the block stops the nodes, and the next `start` brings back the same chains, identities, addresses and blocks.
    """

    def __init__(
        self,
        *chains: NewChain | str,
        node: str | os.PathLike[str] | None = None,
        nodes: int = 1,
        directory: str | os.PathLike[str] | None = None,
        http_port: int | None = None,
        flags: Mapping[str, str] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            chains: what to make in a new network. In an existing one the chains of that name must be of that genesis.
            node: the path of the metalgo or avalanchego binary; by default VMSDK_NODE, or one on the PATH.
            nodes: how many to start in a new network.
            directory: where all of the network is kept.
            http_port: the first node's port for its APIs; its staking port is the next, and each further node has the next two.
                By default all are free ones, chosen at the first start.
            flags: flags of the nodes besides ours (`{"log-level": "debug"}`).
            progress: told what is being done, for people to read.

        Raises:
            InvalidArgument: a number or name is impossible.
        """
        self._new_chains = [chain if isinstance(chain, NewChain) else NewChain(chain) for chain in chains]
        self._binary_path = node
        self._count = nodes
        self._http_port = http_port
        self._flags = dict(flags or {})
        self._progress = progress or _silent
        self._startup = Startup(self._tell)
        self._temporary = directory is None
        self._store = Store(
            Path(directory or Path(tempfile.gettempdir()) / f"vmsdk-network-{secrets.token_hex(8)}")
        )
        self._chains = Chains(self._store, self._tell)
        self._nodes: dict[str, Node] = {}
        _check_count(nodes)
        _check_ports(http_port, nodes)
        check_distinct(chain.name for chain in self._new_chains)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], progress: Callable[[str], None] | None = None) -> Self:
        """The network that is kept in the directory, running or not.

        Raises:
            NetworkNotFound: there is none.
        """
        network = cls(directory=directory, progress=progress)
        network._store.load()
        return network

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary:
            self.clean()
        else:
            self.stop()

    @property
    def directory(self) -> Path:
        return self._store.directory

    @property
    def record(self) -> NetworkRecord:
        """What is on the disk about it."""
        return self._store.load()

    @property
    def nodes(self) -> list[Node]:
        """All nodes, running or not, by age."""
        return [self._nodes.setdefault(node.name, Node(self._store, node.name)) for node in self.record.nodes]

    @property
    def chains(self) -> list[Chain]:
        return [Chain(record) for record in self.record.chains]

    @property
    def chain(self) -> Chain:
        """The first chain. Raises `NoSuchChain` where there is none."""
        for chain in self.chains:
            return chain
        raise NoSuchChain("", [])

    @property
    def running(self) -> bool:
        """Whether any of its nodes runs."""
        return any(node.status in ("running", "paused") for node in self.nodes)

    def on_progress(self, progress: Callable[[str], None]) -> None:
        """Tells `progress` from now on what is being done."""
        self._progress = progress

    def find_chain(self, name: str) -> Chain:
        """The chain of that name or ID. Raises `NoSuchChain`."""
        return Chain(self.record.chain(name))

    def exclusively(self) -> AbstractContextManager[None]:
        """Keeps other commands from changing the network meanwhile, and waits for one that does.

        Raises:
            NetworkBusy: it takes too long.
            NetworkNotFound: the network is not there (any more).
        """
        return self._store.locked()

    def node(self, name: str) -> Node:
        """The node of that name (`node1`) or node ID. Raises `NoSuchNode`."""
        for node in self.nodes:
            if name in (node.name, node.record.node_id):
                return node
        raise NoSuchNode(name, [node.name for node in self.nodes])

    def client(self, node: int = 0, path: str = "") -> JSONRPCClient:
        """A client of the first chain's methods on the node of that index."""
        return self.chain.client(self.nodes[node], path)

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Makes the network, or starts those of its nodes that do not run, and waits until all chains take work on all of them.

        Raises:
            NetworkError: why it failed. Nothing runs then; a network that was to be made leaves nothing on the disk either.
        """
        if self._store.path.exists():
            self._resume(timeout_s)
        else:
            self._create(timeout_s)
        if self._temporary:
            atexit.register(self.clean)

    def stop(self) -> None:
        """Stops all nodes in order, the youngest first. Does nothing where none runs."""
        with self._store.locked():
            nodes = self.nodes[::-1]
            if self.running:
                self._progress("stopping the nodes")
            for node in nodes:
                node.begin_stop()
            for node in nodes:
                node.end_stop()
            end_processes_in(self.directory)

    def kill(self) -> None:
        """Ends all nodes at once."""
        with self._store.locked():
            for node in self.nodes:
                node.kill()
            end_processes_in(self.directory)

    def clean(self) -> None:
        """Stops all nodes and removes the network from the disk. Does nothing where there is none."""
        atexit.unregister(self.clean)
        if not self._store.path.exists():
            return
        with self._store.locked():
            try:
                self.kill()
            except InvalidState:
                pass  # what runs is found without it
            end_processes_in(self.directory)
            self._store.remove()

    def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Stops all nodes and starts them again: every chain is started anew, with changed code of its VM, on the state that it had."""
        with self._store.locked():
            self.stop()
            self._startup.await_chains(self._startup.launch(self.nodes, timeout_s), timeout_s)

    def add_node(self, timeout_s: float = READY_TIMEOUT_S) -> Node:
        """Adds a node, and waits until it has all blocks that the others have now.

        Raises:
            NetworkError: why it failed; the network is as before.
        """
        with self._store.locked():
            with self._store.changing() as network:
                record = network.new_node()
            node = self.node(record.name)
            others = [other for other in self.nodes if other.status == "running"]
            try:
                node.start(timeout_s)
                # A node that is not connected yet counts a chain as bootstrapped with what it has: nothing.
                for chain in self.chains if others else []:
                    height = max(chain.height(other) for other in others)
                    self.wait_for_height(height, chain=chain, nodes=[node], timeout_s=timeout_s)
            except BaseException:
                self._forget_node(node)
                raise
            return node

    def add_chain(self, chain: NewChain | str, timeout_s: float = READY_TIMEOUT_S) -> Chain:
        """Makes another chain on the running network; the nodes are restarted for it.

        Raises:
            NetworkError: why it failed; the network is as before.
            InvalidArgument: there is a chain of that name.
        """
        new = chain if isinstance(chain, NewChain) else NewChain(chain)
        with self._store.locked():
            check_distinct([*(known.name for known in self.chains), new.name])
            pchain = PChain(self._first_running().uri)
            nodes = [node for node in self.nodes if node.status in ("running", "paused")]
            try:
                births = self._chains.plan([new], pchain)
                self.stop()
                launches = self._startup.launch(nodes, timeout_s)
                self._chains.make(births, PChain(self._first_running().uri))
                self._startup.await_chains(launches, timeout_s)
            except BaseException:
                self._chains.forget(new.name)
                self.stop()
                self._startup.await_chains(self._startup.launch(nodes, timeout_s), timeout_s)
                raise
            return self.find_chain(new.name)

    def wait_for_height(
        self, height: int, *, chain: Chain | None = None, nodes: Iterable[Node] = (), timeout_s: float = 30.0
    ) -> None:
        """Waits until these nodes (by default all that run) have accepted a block of that height on the chain (by default the first).

        Raises:
            WaitTimedOut: they have not, in time.
            NodeNotRunning: no node runs.
        """
        chain = chain or self.chain
        waiting = list(nodes) or [node for node in self.nodes if node.status == "running"]
        if not waiting:
            raise NodeNotRunning(self.nodes[0].name)
        deadline = time.monotonic() + timeout_s
        while waiting := [node for node in waiting if chain.height(node) < height]:
            if time.monotonic() > deadline:
                reached = ", ".join(f"{node.name} is at {chain.height(node)}" for node in waiting)
                raise WaitTimedOut(f"height {height} of {chain.name} ({reached})", timeout_s)
            time.sleep(_HEIGHT_POLL_S)

    def _tell(self, text: str) -> None:
        self._progress(text)

    # Making and starting -------------------------------------------------------------------------

    def _create(self, timeout_s: float) -> None:
        binary = NodeBinary.find(self._binary_path)
        file_limit()
        _check_free(self.directory)
        made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        try:
            network = NetworkRecord(
                self.directory.name, str(binary.path), binary.version, binary.protocol, self._flags
            )
            for index in range(self._count):
                network.new_node(None if self._http_port is None else self._http_port + 2 * index)
            self._store.create(network)
            self._populate(timeout_s)
        except BaseException:
            self._undo_create(made)
            raise

    def _populate(self, timeout_s: float) -> None:
        with self._store.locked():
            first, *others = self.nodes
            launches = self._startup.launch([first], timeout_s)
            births = []
            if self._new_chains:
                # What there is to spend only a node can say: each release has a local genesis of its own.
                births = self._chains.plan(self._new_chains, PChain(first.uri))
                first.stop()
                launches = self._startup.launch([first], timeout_s)
            # Alone, the first node accepts the transactions at once; the others bootstrap them from it.
            self._chains.make(births, PChain(first.uri))
            launches += self._startup.launch(others, timeout_s)
            self._startup.await_chains(launches, timeout_s)

    def _undo_create(self, made: list[Path]) -> None:
        if self._store.path.exists():
            self.kill()
        end_processes_in(self.directory)
        self._store.remove()
        if self.directory not in made:
            self.directory.mkdir()
        for directory in made[1:]:
            try:
                directory.rmdir()
            except OSError:
                break  # another network has come into it meanwhile

    def _resume(self, timeout_s: float) -> None:
        with self._store.locked():
            self._chains.check_same(self._new_chains)
            before = self.record
            idle = [node for node in self.nodes if node.status not in ("running", "paused")]
            try:
                if not self.running:
                    binary = NodeBinary.find(self._binary_path or before.binary)
                    self._fit(
                        binary,
                        {**before.flags, **self._flags},
                        {new.name: new.target for new in self._new_chains},
                    )
                for new in self._new_chains:
                    self._store.write_chain_config(before.chain(new.name).chain_id, new.config, new.upgrade)
                self._startup.await_chains(self._startup.launch(idle, timeout_s), timeout_s)
            except BaseException:
                for node in idle:
                    node.kill()
                binary = NodeBinary(Path(before.binary), before.version, before.protocol)
                self._fit(binary, before.flags, {chain.name: chain.target for chain in before.chains})
                raise

    def _fit(self, binary: NodeBinary, flags: dict[str, str], targets: Mapping[str, str]) -> None:
        """Has the nodes run by that binary from their next start on, and these chains made from these targets."""
        with self._store.changing() as network:
            another_protocol = binary.protocol != network.protocol
            network.binary, network.version, network.protocol = (
                str(binary.path),
                binary.version,
                binary.protocol,
            )
            network.flags = flags
            self._chains.replace(network, targets, all_of_them=another_protocol)

    def _first_running(self) -> Node:
        for node in self.nodes:
            if node.status == "running":
                return node
        raise NodeNotRunning(self.nodes[0].name)

    def _forget_node(self, node: Node) -> None:
        node.kill()
        with self._store.changing() as network:
            network.nodes = [record for record in network.nodes if record.name != node.name]
        shutil.rmtree(node.directory, ignore_errors=True)


def _silent(text: str) -> None:
    pass


def _check_count(nodes: int) -> None:
    if nodes < 1:
        raise InvalidArgument(f"a network of {nodes} nodes cannot be made: one is the least")


def _check_ports(http_port: int | None, nodes: int) -> None:
    if http_port is not None and not 1 <= http_port <= _MAX_PORT - 2 * nodes + 1:
        raise InvalidArgument(
            f"{nodes} nodes cannot have ports from {http_port} on: each has two, between 1 and {_MAX_PORT}"
        )


def _check_free(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise NetworkExists(directory, "it is a file")
    if directory.exists() and any(directory.iterdir()):
        raise NetworkExists(directory, "there are other files in it")
