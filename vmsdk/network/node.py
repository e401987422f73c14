"""The nodes of a local network: one by one, and started together."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vmsdk.ids import NodeID
from vmsdk.network import logs
from vmsdk.network.binary import file_limit
from vmsdk.network.client import JSONRPCClient, request
from vmsdk.network.errors import NetworkError, NodeUnreachable, PluginFailed, PortTaken
from vmsdk.network.launch import LOCALHOST, POLL_S, Launch, node_flags
from vmsdk.network.logs import LogFile
from vmsdk.network.process import Process
from vmsdk.network.state import NetworkRecord, NodeRecord, Store
from vmsdk.network.wallet import Validator

READY_TIMEOUT_S = 60.0
"""A node takes 0.3 s, the registration of a plugin up to 5 s, a chain as long as `initialize`."""
STOP_TIMEOUT_S = 70.0
"""A node gives its chains a minute (its flag `consensus-shutdown-timeout`), and a plugin 5 s."""

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 10_000
_FIRST_DYNAMIC_PORT = 49_152  # RFC 6335
_PORT_TRIES = 100

_METRIC = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


class Node:
    """A node by name (`node1`). Its state is on the disk, where other processes may change it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._process: Process | None = None
        self._launch: Launch | None = None
        self._recorded: Launch | None = None
        self._together: Sequence[Node] = ()
        self._bare = False
        self._restarted = False
        self.name = name

    def __repr__(self) -> str:
        return f"<Node {self.name} of {self._store.directory}>"

    @property
    def record(self) -> NodeRecord:
        """Its record on the disk. Raises `NetworkError` if it was removed."""
        return self._store.load().node(self.name)

    @property
    def directory(self) -> Path:
        """Its data directory."""
        return self._store.node_dir(self.name)

    @property
    def uri(self) -> str:
        """The URL of its APIs, such as `http://127.0.0.1:9650`, the same after a restart."""
        return f"http://{LOCALHOST}:{self.record.http_port}"

    @property
    def node_id(self) -> NodeID:
        """Its node ID, which never changes."""
        return NodeID.from_string(self.record.node_id)

    @property
    def status(self) -> str:
        """`running`, `paused`, `stopped`, or `dead` if it exited by itself."""
        process = self._process_of(self.record)
        if process is None:
            return "stopped"
        if not process.running:
            return "dead"
        return "paused" if process.paused else "running"

    @property
    def log(self) -> Path:
        """The node's own log."""
        return self.directory / "logs" / "main.log"

    @property
    def plugin_log(self) -> Path:
        """What plugins print while the node registers them."""
        return self.directory / "logs" / "vm-factory.log"

    def as_validator(self, weight: int) -> Validator:
        """Its node ID and BLS key, for `Wallet.convert_subnet`. It must be running."""
        reply = self.client("/ext/info").call("info.getNodeID")["nodePOP"]
        proof = bytes.fromhex("".join(reply[part][2:] for part in ("publicKey", "proofOfPossession")))
        return Validator(self.node_id, weight, proof)

    def client(self, path: str) -> JSONRPCClient:
        """A client of one of its APIs, by path (`/ext/info`, `/ext/bc/P`)."""
        return JSONRPCClient(self.uri + path)

    def metrics(self, name: str, **labels: str) -> list[float]:
        """The values at `/ext/metrics` of metrics whose names end in `name`, with these labels.

        Leave out the prefix of a name, which depends on the node (`avalanche_`, `metal_`). Raises
        `NodeUnreachable` if it doesn't respond, which may be so after a plugin has died.
        """
        status, text = request(self.uri.removeprefix("http://"), "GET", "/ext/metrics")
        if status != 200:
            raise NodeUnreachable(f"{self.uri}/ext/metrics", f"HTTP {status}")
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        matches = filter(None, map(_METRIC.fullmatch, text.decode().splitlines()))
        return [
            float(match["value"])
            for match in matches
            if match["name"].endswith(name) and wanted <= set((match["labels"] or "").split(","))
        ]

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start it, and wait until its chains are bootstrapped and it is connected to all nodes.

        Does nothing if it runs. Raises `NetworkError` if it fails; it is stopped then.
        """
        with self._store.locked():
            if self.status in ("running", "paused"):
                return
            try:
                launch([self], timeout_s)
                await_chains([self], timeout_s)
            except BaseException:
                self.kill()
                raise

    def stop(self) -> None:
        """Stop it cleanly: plugins are shut down and databases closed."""
        with self._store.locked():
            self.begin_stop()
            self.end_stop()

    def begin_stop(self) -> None:
        """Ask it to stop, without waiting."""
        process = self._process_of(self.record)
        if process is not None and process.running:
            process.resume()
            process.terminate()

    def end_stop(self) -> None:
        """Wait until it has stopped; after `STOP_TIMEOUT_S`, kill it."""
        process = self._process_of(self.record)
        if process is not None and not process.wait(STOP_TIMEOUT_S):
            process.kill()
        self._forget_process()

    def kill(self) -> None:
        """Kill it and its plugins, as a power cut would."""
        with self._store.locked():
            process = self._process_of(self.record)
            if process is not None:
                process.kill()
            self._forget_process()

    def pause(self) -> None:
        """Freeze it and its plugins: connections stay open, but there are no responses."""
        self._running_process().pause()

    def resume(self) -> None:
        """Let a paused node continue."""
        self._running_process().resume()

    def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Stop it cleanly and start it again, with the same identity, addresses and blocks."""
        with self._store.locked():
            self.stop()
            self.start(timeout_s)

    def died(self) -> NetworkError | None:
        """Why it exited, if it should run and doesn't."""
        process = self._process_of(self.record)
        if process is None or process.running:
            return None
        _, lines = LogFile.last_lines(self.log, 5)
        _, output = LogFile.last_lines(self.directory / "output.log", 5)
        return logs.node_exit(self.name, process.exit_code, lines, output, self.log)

    # Starting ------------------------------------------------------------------------------------

    def spawn(self, together: Sequence[Node] = (), *, bare: bool = False) -> None:
        """Start its process, and wait only until its ID is known.

        It bootstraps from the running nodes and those that start `together` with it, if their IDs
        are known. A `bare` node has no plugins or chains, and keeps only its identity.
        """
        self._together, self._bare = together, bare
        with self._store.changing() as network:
            record = network.node(self.name)
            record.http_port = record.http_port or _free_port(network)
            record.staking_port = record.staking_port or _free_port(network)
            flags = node_flags(
                self._store,
                network,
                record,
                plugin_dir=self._plugin_dir(network, record, bare=bare),
                peers=[] if bare else self._peers(network),
                file_limit=file_limit(),
            )
            flags.update({"db-type": "memdb", "track-subnets": ""} if bare else {})
            self._store.write_aliases(network)
            self._launch = Launch(self.name, network.binary, flags)
            self._process = process = self._launch.process
            record.pid, record.started = process.pid, process.started
        if not record.node_id:
            self._learn_id(self._launch)

    def listens(self) -> bool:
        """Whether it has registered its plugins and listens. If so, its ports are on the disk."""
        launch = self._started()
        # Don't test whether the launch already knew its address: reading the node's ID may set it.
        if launch.listens() and self._recorded is not launch:
            with self._store.changing() as network:
                record = network.node(self.name)
                record.http_port = int(launch.uri.rpartition(":")[2])
                record.staking_port = launch.staking_port
            self._check_identity(launch, record)
            for chain in network.chains:
                launch.name_chain(chain)
            self._recorded = launch
        return bool(launch.uri)

    def has_primary_network(self) -> bool:
        """Whether its P-chain is bootstrapped."""
        return self.listens() and self._started().has_primary_network()

    def await_primary_network(self, timeout_s: float) -> None:
        """Wait until its P-chain is bootstrapped."""
        _until(Node.has_primary_network, [self], timeout_s, lambda _: None)

    def runs_chains(self) -> bool:
        """Whether all chains of the network are bootstrapped on it."""
        launch = self._started()
        return self.has_primary_network() and all(launch.runs(chain) for chain in self._store.load().chains)

    def peers(self) -> set[str]:
        """The IDs of the nodes that it is connected to."""
        return {peer["nodeID"] for peer in self.client("/ext/info").call("info.peers")["peers"]}

    def start_again(self, error: NetworkError) -> bool:
        """Start it again, once, if a port was taken, or a plugin was slow on a busy machine."""
        with self._store.changing() as network:
            record = network.node(self.name)
            if isinstance(error, PortTaken) and not record.ports_fixed:
                record.http_port = record.staking_port = 0
            elif not (isinstance(error, PluginFailed) and error.plugin_was_slow):
                return False
        if self._restarted:
            return False
        self.stop()
        self._restarted = True
        self.spawn(self._together, bare=self._bare)
        return True

    def timed_out(self, timeout_s: float) -> NetworkError:
        """The error if it isn't ready after `timeout_s`."""
        return self._started().timed_out(self._store.load().chains, timeout_s)

    def _started(self) -> Launch:
        assert self._launch is not None
        return self._launch

    def _check_identity(self, launch: Launch, known: NodeRecord) -> None:
        keys = self.directory / "staking"
        if known.node_id and (node_id := launch.node_id()) != known.node_id:
            raise NetworkError(
                f"{self.name} has started as {node_id}, but the network knows it as {known.node_id}: its "
                f"keys in {keys} were removed or replaced. Put them back, or begin anew (vmsdk network clean)"
            )
        if known.bls_key and (bls_key := launch.bls_key()) != known.bls_key:
            raise NetworkError(
                f"{self.name} has started with the BLS key {bls_key}, but it validates with {known.bls_key}: "
                f"{keys / 'signer.key'} was removed or replaced. Put it back, or begin anew (vmsdk network "
                "clean)"
            )

    def _learn_id(self, launch: Launch) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        try:
            while not (node_id := launch.node_id()):
                if time.monotonic() > deadline:
                    raise launch.timed_out((), READY_TIMEOUT_S)
                time.sleep(POLL_S / 4)
        except PortTaken as error:
            if not self.start_again(error):
                raise
            return
        with self._store.changing() as network:
            network.node(self.name).node_id = node_id

    def _peers(self, network: NetworkRecord) -> list[NodeRecord]:
        """The other nodes that are running or starting.

        A node doesn't discover others through its peers, so it needs all of them, but it would wait
        for dead ones.
        """
        together = {node.name for node in self._together}
        return [
            other
            for other in network.nodes
            if other.name != self.name
            and other.node_id
            and other.staking_port
            and (other.name in together or Node(self._store, other.name).status == "running")
        ]

    def _plugin_dir(self, network: NetworkRecord, record: NodeRecord, *, bare: bool) -> Path:
        """The network's plugin directory, or one for this node if its plugins differ."""
        for chain in () if bare else network.chains:
            if not (self._store.plugin_dir / chain.vm_id).exists():
                raise NetworkError(
                    f"the plugin of the chain {chain.name} is no longer at "
                    f"{self._store.plugin_dir / chain.vm_id}: vmsdk network restart installs it again"
                )
        if not bare and not record.plugin:
            return self._store.plugin_dir
        own = self.directory / "plugins"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        if not bare:
            for plugin in self._store.plugin_dir.iterdir():
                replaced = bool(network.chains) and plugin.name == network.chains[0].vm_id
                (own / plugin.name).symlink_to(record.plugin if replaced else plugin)
        return own

    def _process_of(self, record: NodeRecord) -> Process | None:
        if record.pid is None:
            return None
        known = self._process
        if known is None or (known.pid, known.started) != (record.pid, record.started):
            self._process = known = Process(record.pid, record.started)
        return known

    def _running_process(self) -> Process:
        process = self._process_of(self.record)
        if process is not None and process.running:
            return process
        raise NetworkError(f"{self.name} is not running: start it first")

    def _forget_process(self) -> None:
        with self._store.changing() as network:
            network.node(self.name).pid = None


def launch(nodes: Sequence[Node], timeout_s: float, progress: Callable[[str], None] = lambda _: None) -> None:
    """Start nodes together and wait until their P-chains are bootstrapped.

    Raises `PluginFailed`, `PortTaken` or another `NetworkError` if one of them fails.
    """
    if nodes:
        progress(f"starting {count(nodes)}")
    for node in nodes:
        node._restarted = False
    # At most one node per processor at once, because a plugin has only 5 s for its handshake.
    wave = os.cpu_count() or 1
    for start in range(0, len(nodes), wave):
        for node in nodes[start : start + wave]:
            node.spawn(nodes)
        _until(Node.listens, nodes[start : start + wave], timeout_s, progress)
    _until(Node.has_primary_network, nodes, timeout_s, progress)


def await_chains(
    nodes: Sequence[Node], timeout_s: float, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Wait until the chains are bootstrapped on launched nodes, and all nodes are connected.

    Raises `PluginFailed` or another `NetworkError` if one of them fails.
    """
    if nodes:
        progress(f"waiting for the chain on {count(nodes)}")
        _until(Node.runs_chains, nodes, timeout_s, progress)
        _await_connections(nodes[0]._store, timeout_s)


def count(nodes: Sequence[object]) -> str:
    return f"{len(nodes)} nodes" if len(nodes) != 1 else "1 node"


def _until(
    stage: Callable[[Node], bool], nodes: Iterable[Node], timeout_s: float, progress: Callable[[str], None]
) -> None:
    """Wait until all nodes have reached a stage. Raises at once if one fails."""
    deadline = time.monotonic() + timeout_s
    waiting = list(nodes)
    while waiting := [node for node in waiting if not _has_reached(stage, node, progress)]:
        if time.monotonic() > deadline:
            raise waiting[0].timed_out(timeout_s)
        time.sleep(POLL_S)


def _has_reached(stage: Callable[[Node], bool], node: Node, progress: Callable[[str], None]) -> bool:
    try:
        return stage(node)
    except NodeUnreachable:
        return False  # it is exiting: the next check shows why
    except (PluginFailed, PortTaken) as error:
        if not node.start_again(error):
            raise
        progress(f"starting {node.name} again: {str(error).splitlines()[0]}")
        return False


def _await_connections(store: Store, timeout_s: float) -> None:
    """Wait until all running nodes are connected: without peers, a node would continue alone."""
    nodes = [node for record in store.load().nodes if (node := Node(store, record.name)).status == "running"]
    node_ids = {node.record.node_id for node in nodes}
    deadline = time.monotonic() + timeout_s
    for node in nodes if len(nodes) > 1 else ():
        while missing := node_ids - node.peers() - {node.record.node_id}:
            if time.monotonic() > deadline:
                raise NetworkError(
                    f"{node.name} is not connected to {', '.join(sorted(missing))} after {timeout_s:g} s"
                )
            time.sleep(POLL_S)


def _free_port(network: NetworkRecord) -> int:
    """A free port that no node of the network has: nodes need each other's before they listen.

    It is not in the system's range of ephemeral ports, so it is likely to be free at the next
    start.
    """
    taken = {port for node in network.nodes for port in (node.http_port, node.staking_port)}
    steady = _steady_ports()
    for _ in range(_PORT_TRIES if steady else 0):
        port = secrets.choice(steady)
        if port not in taken and _bound(port):
            return port
    return _bound(0)


def _bound(port: int) -> int:
    """The port if it is free, or any for 0; 0 if it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def _steady_ports() -> range:
    """The ports from 10,000 on, below the system's range of ephemeral ports."""
    try:
        first = int(_PORT_RANGE.read_text(encoding="ascii").split()[0])
    except OSError:
        first = _FIRST_DYNAMIC_PORT  # not Linux
    return range(_LOWEST_PORT, first)
