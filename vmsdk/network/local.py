"""A local network of real nodes."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from typing_extensions import Self

from vmsdk.bls import PUBLIC_KEY_BYTES
from vmsdk.network.binary import NodeBinary, file_limit
from vmsdk.network.chain import Chain, NewChain
from vmsdk.network.chains import Chains, check_distinct
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import NetworkError
from vmsdk.network.genesis import NETWORK_ID, SAMPLE_WEIGHT, genesis_of
from vmsdk.network.node import READY_TIMEOUT_S, Node, await_chains, launch
from vmsdk.network.pchain import PChain
from vmsdk.network.process import end_processes_in
from vmsdk.network.state import InvalidState, NetworkRecord, Store
from vmsdk.network.wallet import Validator
from vmsdk.target import ExecutableTarget, find

_HEIGHT_POLL_S = 0.02
_MAX_PORT = 65535


class LocalNetwork:
    """Real nodes on this machine, with your chain on them.

    ```python
    with LocalNetwork("vm.py:TimestampVM", nodes=3) as network:
        chain = network.chain
        chain.client(network.nodes[0]).call("timestampvm.proposeBlock", data="0x…")
        network.wait_for_height(1)
        network.nodes[2].kill()
    ```

    Without a directory the network is temporary: it is removed at the end of the `with` block or of
    this process. In a directory it is kept: the end of the block stops the nodes, and the next
    `start` resumes with the same chains, identities, addresses and blocks.
    """

    def __init__(
        self,
        *chains: NewChain | str,
        node: str | os.PathLike[str] | None = None,
        nodes: int = 1,
        directory: str | os.PathLike[str] | None = None,
        weights: Sequence[int] = (),
        http_port: int | None = None,
        flags: Mapping[str, str] | None = None,
        node_plugins: Mapping[int, str | os.PathLike[str]] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Describe the network. Nothing is started yet.

        Args:
            chains: the chains of a new network; an existing one must have them already.
            node: the metalgo or avalanchego binary; by default VMSDK_NODE, or one on the PATH.
            nodes: how many nodes a new network has.
            weights: the nodes' weights as validators of each chain of a new network; at least 20 in
                total. Without weights there are no validators, and warp messages aren't signed.
            directory: where the network is kept.
            http_port: the first node's API port. Its staking port is the next, and each further
                node has the next two. By default the nodes get free ports at their first start.
            flags: additional flags of the nodes (`{"log-level": "debug"}`).
            node_plugins: executables that run the first chain's VM on some nodes, by the nodes'
                numbers (`{2: "build/timestampvm"}`), to mix several implementations.
            progress: called with a line of text before each step.

        Raises `NetworkError` if a number or name is invalid.
        """
        self._new_chains = [chain if isinstance(chain, NewChain) else NewChain(chain) for chain in chains]
        self._binary_path = node
        self._count = nodes
        self._weights = weights
        self._http_port = http_port
        self._flags = dict(flags or {})
        self._node_plugins = {number: executable(path) for number, path in (node_plugins or {}).items()}
        self.progress: Callable[[str], None] = progress or (lambda _: None)
        self._temporary = directory is None
        self._store = Store(
            Path(directory or Path(tempfile.gettempdir()) / f"vmsdk-network-{secrets.token_hex(8)}")
        )
        self._chains = Chains(self._store, self._report)
        self._nodes: dict[str, Node] = {}
        _check_numbers(http_port, nodes, self._node_plugins)
        _check_weights(weights, nodes)
        check_distinct(chain.name for chain in self._new_chains)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], progress: Callable[[str], None] | None = None) -> Self:
        """The network in the directory, running or not. Raises `NetworkNotFound`."""
        network = cls(directory=directory, progress=progress)
        network._store.load()
        return network

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary:
            self.clean()
        else:
            self.stop()

    @property
    def directory(self) -> Path:
        return self._store.directory

    @property
    def record(self) -> NetworkRecord:
        """Its record on the disk."""
        return self._store.load()

    @property
    def nodes(self) -> list[Node]:
        """All nodes, running or not, in the order of their creation."""
        return [self._nodes.setdefault(node.name, Node(self._store, node.name)) for node in self.record.nodes]

    @property
    def chains(self) -> list[Chain]:
        return [Chain(record) for record in self.record.chains]

    @property
    def chain(self) -> Chain:
        """The first chain. Raises `NetworkError` if there is none."""
        if self.chains:
            return self.chains[0]
        raise NetworkError("the network has no chain: add one by add_chain or vmsdk network add-chain")

    @property
    def running(self) -> bool:
        """Whether any of its nodes runs."""
        return any(node.status in ("running", "paused") for node in self.nodes)

    def find_chain(self, name: str) -> Chain:
        """The chain of that name or ID. Raises `NetworkError` if there is none."""
        return Chain(self.record.chain(name))

    def exclusively(self) -> AbstractContextManager[None]:
        """Keep other commands from changing the network; waits for one that is changing it.

        Raises `NetworkBusy` if that takes too long, `NetworkNotFound` if the network was removed.
        """
        return self._store.locked()

    def node(self, name: str) -> Node:
        """The node of that name (`node1`) or node ID. Raises `NetworkError` if there is none."""
        found = self.record.node(name)
        return next(node for node in self.nodes if node.name == found.name)

    def client(self, node: int = 0, path: str = "") -> JSONRPCClient:
        """A client of the first chain's methods on the node of that index."""
        return self.chain.client(self.nodes[node], path)

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Create the network, or start its stopped nodes, and wait until it is ready.

        It is ready when all chains are bootstrapped on all nodes, and all nodes are connected to
        each other. Raises `NetworkError` if it fails; a new network is removed from the disk then.
        """
        if self._store.path.exists():
            self._resume(timeout_s)
        else:
            self._create(timeout_s)
        if self._temporary:
            atexit.register(self.clean)

    def stop(self) -> None:
        """Stop all nodes cleanly. Does nothing if none runs."""
        with self._store.locked():
            nodes = self.nodes[::-1]
            if self.running:
                self.progress("stopping the nodes")
            for node in nodes:
                node.begin_stop()
            for node in nodes:
                node.end_stop()
            end_processes_in(self.directory)

    def kill(self) -> None:
        """Kill all nodes, as a power cut would."""
        with self._store.locked():
            for node in self.nodes:
                node.kill()
            end_processes_in(self.directory)

    def clean(self) -> None:
        """Stop all nodes and remove the network from the disk. Does nothing if there is none."""
        atexit.unregister(self.clean)
        if not self._store.path.exists():
            return
        with self._store.locked():
            try:
                self.kill()
            except InvalidState:
                pass  # end_processes_in finds its processes
            end_processes_in(self.directory)
            self._store.remove()

    def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Stop all nodes and start them again, to run changed code of the VMs."""
        with self._store.locked():
            self.stop()
            self._start_nodes(self.nodes, timeout_s)

    def add_node(
        self, timeout_s: float = READY_TIMEOUT_S, *, plugin: str | os.PathLike[str] | None = None
    ) -> Node:
        """Add a node, and wait until it has all blocks that the others have now.

        `plugin` is an executable that runs the first chain's VM on this node (see `node_plugins`).
        Raises `NetworkError` if it fails; the network is unchanged then.
        """
        own = "" if plugin is None else executable(plugin)
        with self._store.locked():
            with self._store.changing() as network:
                record = network.new_node()
                record.plugin = own
            node = self.node(record.name)
            others = [other for other in self.nodes if other.status == "running"]
            try:
                node.start(timeout_s)
                for chain in self.chains if others else []:
                    height = max(chain.height(other) for other in others)
                    self.wait_for_height(height, chain=chain, nodes=[node], timeout_s=timeout_s)
            except BaseException:
                self._forget_node(node)
                raise
            return node

    def add_chain(self, chain: NewChain | str, timeout_s: float = READY_TIMEOUT_S) -> Chain:
        """Create another chain on the running network; the nodes are restarted for it.

        Raises `NetworkError` if it fails; the network is unchanged then.
        """
        new = chain if isinstance(chain, NewChain) else NewChain(chain)
        with self._store.locked():
            check_distinct([*(known.name for known in self.chains), new.name])
            pchain = PChain(self._first_running().uri)
            nodes = [node for node in self.nodes if node.status in ("running", "paused")]
            try:
                self._chains.install([new])
                validators = self._validators()
                creations = self._chains.plan([new], pchain, validators)
                self.stop()
                launch(nodes, timeout_s, self._report)
                self._chains.create(creations, PChain(nodes[0].uri))
                if validators:
                    launch(self._stopped(nodes), timeout_s, self._report)
                await_chains(nodes, timeout_s, self._report)
            except BaseException:
                self._chains.forget(new)
                self.stop()
                self._start_nodes(nodes, timeout_s)
                raise
            return self.find_chain(new.name)

    def wait_for_height(
        self, height: int, *, chain: Chain | None = None, nodes: Iterable[Node] = (), timeout_s: float = 60.0
    ) -> None:
        """Wait until nodes (by default all that run) have accepted a block of that height.

        The chain is the first by default. Raises `NetworkError` if it takes longer than
        `timeout_s`, or no node runs.
        """
        chain = chain or self.chain
        waiting = list(nodes) or [node for node in self.nodes if node.status == "running"]
        if not waiting:
            raise NetworkError(f"no node of {self.directory} runs: start the network first")
        deadline = time.monotonic() + timeout_s
        while waiting := [node for node in waiting if chain.height(node) < height]:
            if time.monotonic() > deadline:
                reached = ", ".join(f"{node.name} is at {chain.height(node)}" for node in waiting)
                raise NetworkError(
                    f"{chain.name} did not reach height {height} within {timeout_s:g} s: {reached}"
                )
            time.sleep(_HEIGHT_POLL_S)

    def _report(self, text: str) -> None:
        self.progress(text)  # callers may replace it

    # Creating and starting -----------------------------------------------------------------------

    def _create(self, timeout_s: float) -> None:
        binary = NodeBinary.find(self._binary_path)
        file_limit()
        if self.directory.exists() and not self.directory.is_dir():
            raise NetworkError(f"{self.directory} can't hold a new network: it is a file")
        made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        with self._store.creating():
            if self._store.path.exists():
                raise NetworkError(
                    f"another command has just created the network in {self.directory}: "
                    "vmsdk network status shows it"
                )
            self._store.check_free()
            try:
                network = NetworkRecord(
                    self.directory.name, str(binary.path), binary.version, binary.protocol, self._flags
                )
                for index in range(self._count):
                    record = network.new_node(
                        None if self._http_port is None else self._http_port + 2 * index
                    )
                    record.plugin = self._node_plugins.get(index + 1, "")
                    record.weight = self._weights[index] if self._weights else 0
                self._store.create(network)
                self._create_chains(timeout_s)
            except BaseException:
                self._undo_create(made)
                raise

    def _create_chains(self, timeout_s: float) -> None:
        first, *others = self.nodes
        creations = []
        validators = self._make_validators(timeout_s) if self._weights else []
        if self._new_chains:
            # A node knows the funds: releases differ in their local genesis.
            first.spawn(bare=True)
            self._chains.install(self._new_chains)
            first.await_primary_network(timeout_s)
            creations = self._chains.plan(self._new_chains, PChain(first.uri), validators)
            first.kill()
        # Alone, the first node accepts the transactions at once; the others get them from it later.
        launch([first], timeout_s, self._report)
        self._chains.create(creations, PChain(first.uri))
        launch(others if not validators else self._stopped([first, *others]), timeout_s, self._report)
        await_chains([first, *others], timeout_s, self._report)

    def _make_validators(self, timeout_s: float) -> list[Validator]:
        """Let the nodes create their keys, and write the genesis with the first as validator."""
        for node in self.nodes:
            node.spawn(bare=True)
        for node in self.nodes:
            node.await_primary_network(timeout_s)
        validators = self._validators()
        with self._store.changing() as network:
            for node, validator in zip(self.nodes, validators, strict=True):
                network.node(node.name).bls_key = validator.proof[:PUBLIC_KEY_BYTES].hex()
        for node in self.nodes:
            node.kill()
        file = self.directory / "genesis.json"
        file.write_text(json.dumps(genesis_of(validators[0])), encoding="utf-8")
        with self._store.changing() as network:
            network.flags = {
                "network-id": str(NETWORK_ID),
                "genesis-file": str(file),
                "sybil-protection-enabled": "true",
                **network.flags,
            }
        return validators

    def _stopped(self, nodes: list[Node]) -> list[Node]:
        """Stop the nodes: one that runs while its chain gets validators may wait forever."""
        self.stop()
        return nodes

    def _validators(self) -> list[Validator]:
        """The validators of every chain, which must run. Empty without sybil protection."""
        weighted = [(node, node.record.weight) for node in self.nodes]
        return [node.as_validator(weight) for node, weight in weighted if weight]

    def _undo_create(self, made: list[Path]) -> None:
        if self._store.path.exists():
            self.kill()
        end_processes_in(self.directory)
        self._store.remove()
        if self.directory not in made:
            self.directory.mkdir(exist_ok=True)
        for directory in made[1:]:
            try:
                directory.rmdir()
            except OSError:
                break  # another network was created there

    def _resume(self, timeout_s: float) -> None:
        with self._store.locked():
            self._chains.check_same(self._new_chains)
            before = self.record
            idle = [node for node in self.nodes if node.status not in ("running", "paused")]
            try:
                if not self.running:
                    binary = NodeBinary.find(self._binary_path or before.binary)
                    flags = {**before.flags, **self._flags}
                    self._configure(binary, flags, {new.name: new.target for new in self._new_chains})
                for new in self._new_chains:
                    self._store.write_chain_config(before.chain(new.name).chain_id, new.config, new.upgrade)
                self._start_nodes(idle, timeout_s)
            except BaseException:
                for node in idle:
                    node.kill()
                binary = NodeBinary(Path(before.binary), before.version, before.protocol)
                self._configure(binary, before.flags, {chain.name: chain.target for chain in before.chains})
                raise

    def _start_nodes(self, nodes: list[Node], timeout_s: float) -> None:
        self._chains.restore_plugins()
        launch(nodes, timeout_s, self._report)
        await_chains(nodes, timeout_s, self._report)

    def _configure(self, binary: NodeBinary, flags: dict[str, str], targets: Mapping[str, str]) -> None:
        """Use this binary, these flags and these chains' targets from the nodes' next start on."""
        with self._store.changing() as network:
            changed = binary.protocol != network.protocol or flags != network.flags
            network.binary, network.version = str(binary.path), binary.version
            network.protocol, network.flags = binary.protocol, flags
            self._chains.replace(network, targets, all_of_them=changed)

    def _first_running(self) -> Node:
        for node in self.nodes:
            if node.status == "running":
                return node
        raise NetworkError(f"no node of {self.directory} runs: start the network first")

    def _forget_node(self, node: Node) -> None:
        node.kill()
        with self._store.changing() as network:
            network.nodes = [record for record in network.nodes if record.name != node.name]
        shutil.rmtree(node.directory, ignore_errors=True)


def executable(path: str | os.PathLike[str]) -> str:
    """The absolute path of a plugin's executable. Raises `TargetError` or `NetworkError`."""
    target = find(os.fspath(Path(path).absolute()))
    if not isinstance(target, ExecutableTarget):
        raise NetworkError(f"{path} is Python source, and a plugin is an executable: vmsdk install makes one")
    return str(target.file)


def _check_numbers(http_port: int | None, nodes: int, node_plugins: Iterable[int]) -> None:
    if nodes < 1:
        raise NetworkError(f"a network can't have {nodes} nodes: it needs at least one")
    if http_port is not None and not 1 <= http_port <= _MAX_PORT - 2 * nodes + 1:
        raise NetworkError(
            f"{nodes} nodes can't have ports from {http_port} on: each needs two, between 1 and {_MAX_PORT}"
        )
    for number in node_plugins:
        if not 1 <= number <= nodes:
            raise NetworkError(f"a plugin is given for node {number}, but the network has {nodes}")


def _check_weights(weights: Sequence[int], nodes: int) -> None:
    if weights and (len(weights) != nodes or min(weights) < 1 or sum(weights) < SAMPLE_WEIGHT):
        raise NetworkError(
            f"{nodes} nodes can't have the weights {list(weights)}: give each a weight of at least 1, "
            f"and {SAMPLE_WEIGHT} or more in total, which nodes sample for every block"
        )
