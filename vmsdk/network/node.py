"""One node of a local network."""

from __future__ import annotations

import re
import time
from pathlib import Path

from vmsdk.ids import NodeID
from vmsdk.network import diagnosis
from vmsdk.network.binary import file_limit
from vmsdk.network.client import JSONRPCClient, request
from vmsdk.network.errors import (
    ChainFailed,
    NetworkError,
    NodeNotRunning,
    NodeUnreachable,
    PluginNotRegistered,
    PortTaken,
)
from vmsdk.network.flags import LOCALHOST, Beacon, node_command
from vmsdk.network.launch import READY_TIMEOUT_S, Launch
from vmsdk.network.logs import LogFile
from vmsdk.network.process import Process
from vmsdk.network.state import NetworkRecord, NodeRecord, Store

STOP_TIMEOUT_S = 70.0
"""A node gives its chains a minute to stop (its flag `consensus-shutdown-timeout`), and a plugin's process 5 s."""

_METRIC = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


class Node:
    """A node by its name (`node1`). Any number of these may exist for one node, in any process: the truth is on the disk."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._process: Process | None = None
        self.name = name

    def __repr__(self) -> str:
        return f"<Node {self.name} of {self._store.directory}>"

    @property
    def record(self) -> NodeRecord:
        """What is on the disk about it. Raises `NoSuchNode` or `NetworkNotFound` where it was removed."""
        return self._store.load().node(self.name)

    @property
    def directory(self) -> Path:
        """Its data directory."""
        return self._store.node_dir(self.name)

    @property
    def uri(self) -> str:
        """Where its APIs are: `http://127.0.0.1:9650`. The same after a restart."""
        return _uri(self.record)

    @property
    def node_id(self) -> NodeID:
        """Its identity, kept for life."""
        return NodeID.from_string(self.record.node_id)

    @property
    def status(self) -> str:
        """`running`, `paused`, `stopped`, or `dead` where it ended that should run."""
        record = self.record
        process = self._process_of(record)
        if record.pid is None or process is None:
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
        """What plugins print while the node gets to know them."""
        return self.directory / "logs" / "vm-factory.log"

    def client(self, path: str) -> JSONRPCClient:
        """A client of one of its APIs, by path (`/ext/info`, `/ext/bc/P`)."""
        return JSONRPCClient(self.uri + path)

    def metrics(self, name: str, **labels: str) -> list[float]:
        """The values at `/ext/metrics` of every metric whose name ends with `name` and that has these labels.

        Names begin with the node's own: `avalanche_` or `metal_`, so leave that off.

        Raises:
            NodeUnreachable: no answer. A node whose plugin has died keeps its callers waiting here.
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
        """Starts it, and waits until its chains take work; it bootstraps from the other nodes that run. Does nothing if it runs.

        Raises:
            NetworkError: why it failed; it is stopped then.
        """
        with self._store.locked():
            if self.status in ("running", "paused"):
                return
            try:
                self._start_once(timeout_s)
            except (PluginNotRegistered, ChainFailed) as error:
                if not error.plugin_was_slow:
                    raise
                self._start_once(timeout_s)

    def spawn(self) -> Launch:
        """Starts its process without waiting; `settle`, then `await_chains` do the rest."""
        with self._store.changing() as network:
            record = network.node(self.name)
            command = node_command(self._store, network, record, self._beacons(network), file_limit())
            launch = Launch(self.name, command, self.directory, self._store.plugin_dir)
            self._process = launch.process
            record.pid, record.started = launch.process.pid, launch.process.started
        return launch

    def settle(self, launch: Launch, timeout_s: float = READY_TIMEOUT_S) -> Launch:
        """Waits until the process listens.

        Where a port of earlier is taken by now, the node is started anew on a free one, unless the ports were asked for.
        """
        deadline = time.monotonic() + timeout_s
        try:
            launch.await_ports(deadline)
        except PortTaken:
            with self._store.changing() as network:
                record = network.node(self.name)
                if record.ports_fixed or not (record.http_port or record.staking_port):
                    raise
                record.http_port = record.staking_port = 0
            launch = self.spawn()
            launch.await_ports(deadline)
        node_id = launch.node_id(deadline)
        with self._store.changing() as network:
            record = network.node(self.name)
            record.http_port, record.staking_port = launch.http_port, launch.staking_port
            record.node_id = node_id
        for chain in network.chains:
            launch.name_chain(chain, deadline)
        return launch

    def await_chains(self, launch: Launch, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Waits until the network's chains take work on it."""
        deadline = time.monotonic() + timeout_s
        for chain in self._store.load().chains:
            launch.await_chain(chain, deadline)

    def stop(self) -> None:
        """Stops it in order: its plugins are shut down, and its databases closed. Does nothing if it does not run."""
        with self._store.locked():
            self.begin_stop()
            self.end_stop()

    def begin_stop(self) -> None:
        """Asks it to stop, without waiting."""
        process = self._process_of(self.record)
        if process is not None and process.running:
            process.resume()
            process.terminate()

    def end_stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Waits until it has stopped, and kills it where it takes longer than `timeout_s`."""
        process = self._process_of(self.record)
        if process is not None and not process.wait(timeout_s):
            process.kill()
        self._forget_process()

    def kill(self) -> None:
        """Ends it at once, as a power cut would. Its plugins end too."""
        with self._store.locked():
            process = self._process_of(self.record)
            if process is not None:
                process.kill()
            self._forget_process()

    def pause(self) -> None:
        """Freezes it and its plugins: connections stay, answers do not come."""
        self._running_process().pause()

    def resume(self) -> None:
        """Lets a paused node go on."""
        self._running_process().resume()

    def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Stops it in order and starts it again: the same identity, addresses and blocks."""
        with self._store.locked():
            self.stop()
            self.start(timeout_s)

    def died(self) -> NetworkError | None:
        """Why it ended, where it should run and does not; else None."""
        record = self.record
        process = self._process_of(record)
        if process is None or process.running:
            return None
        _, lines = LogFile.last_lines(self.log, 5)
        _, output = LogFile.last_lines(self.directory / "output.log", 5)
        return diagnosis.node_death(self.name, process.exit_code, lines, output, self.log)

    def _start_once(self, timeout_s: float) -> None:
        try:
            launch = self.settle(self.spawn(), timeout_s)
            launch.await_primary_network(time.monotonic() + timeout_s)
            self.await_chains(launch, timeout_s)
        except BaseException:
            self.kill()
            raise

    def _beacons(self, network: NetworkRecord) -> list[Beacon]:
        # One is enough, and of several a node waits for most.
        for other in network.nodes:
            if (
                other.name != self.name
                and other.node_id
                and Node(self._store, other.name).status == "running"
            ):
                return [Beacon(other.node_id, other.staking_port)]
        return []

    def _process_of(self, record: NodeRecord) -> Process | None:
        if record.pid is None:
            return None
        known = self._process
        if known is None or (known.pid, known.started) != (record.pid, record.started):
            self._process = known = Process(record.pid, record.started)
        return known

    def _running_process(self) -> Process:
        process = self._process_of(self.record)
        if process is None or not process.running:
            raise NodeNotRunning(self.name)
        return process

    def _forget_process(self) -> None:
        with self._store.changing() as network:
            network.node(self.name).pid = None


def _uri(record: NodeRecord) -> str:
    return f"http://{LOCALHOST}:{record.http_port}"
