"""One run of a node: its command line, and how far it has started."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from vmsdk.network import logs
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import CallFailed, NetworkError, NodeUnreachable, PluginFailed, with_lines
from vmsdk.network.logs import LogFile
from vmsdk.network.process import Process
from vmsdk.network.state import ChainRecord, NetworkRecord, NodeRecord, Store

LOCALHOST = "127.0.0.1"
POLL_S = 0.02

_CALL_TIMEOUT_S = 5.0
# A node copies a plugin's output to the log on a different thread from the one that logs why the
# plugin failed, and maybe later.
_OUTPUT_DELAY_S = 0.2


def node_flags(
    store: Store,
    network: NetworkRecord,
    node: NodeRecord,
    *,
    plugin_dir: Path,
    peers: Iterable[NodeRecord],
    file_limit: int,
) -> dict[str, str]:
    """The flags of a node.

    Without flags for its keys a node creates an identity at its first start and keeps it in its
    data directory.
    """
    peers = list(peers)
    return {
        "network-id": "local",
        "sybil-protection-enabled": "false",
        "data-dir": str(store.node_dir(node.name)),
        "plugin-dir": str(plugin_dir),
        "chain-config-dir": str(store.chain_config_dir),
        "chain-aliases-file": str(store.aliases_file),
        "http-host": LOCALHOST,
        "http-port": str(node.http_port),
        "staking-host": LOCALHOST,
        "staking-port": str(node.staking_port),
        "public-ip": LOCALHOST,
        "fd-limit": str(file_limit),
        "bootstrap-ips": ",".join(f"{LOCALHOST}:{peer.staking_port}" for peer in peers),
        "bootstrap-ids": ",".join(peer.node_id for peer in peers),
        "track-subnets": ",".join(chain.subnet_id for chain in network.chains),
        # So blocks see a change of validators at once, not half a minute later.
        "proposervm-use-current-height": "true",
        "api-admin-enabled": "true",  # to name the chains in URLs
        "log-display-level": "off",
        "log-format": "plain",
        **network.flags,
    }


class Launch:
    """A node's process, and what it has logged since its start."""

    def __init__(self, name: str, binary: str, flags: Mapping[str, str]) -> None:
        """Start the process. Raises `NetworkError` if the system can't run the binary."""
        self.name = name
        self.uri = ""
        """Empty until the node listens."""
        self.staking_port = 0
        self._plugin_dir = Path(flags["plugin-dir"])
        data_dir = Path(flags["data-dir"])
        self._process_file = data_dir / "process.json"
        self._log_dir = data_dir / "logs"
        self._logs: dict[str, LogFile] = {}
        self._lines: dict[str, list[str]] = {}
        self._named: set[str] = set()
        self._failed_at_s: float | None = None
        self._output = LogFile.at_end(data_dir / "output.log")
        data_dir.mkdir(parents=True, exist_ok=True)
        self._process_file.unlink(missing_ok=True)
        for log in ("main", "vm-factory", *(path.stem for path in self._log_dir.glob("*.log"))):
            self._logs[log] = LogFile.at_end(self._path(log))
        command = [binary, *(f"--{name}={value}" for name, value in flags.items())]
        try:
            self.process = Process.start(command, self._output.path, _environment(data_dir / "tmp"))
        except OSError as error:
            raise NetworkError(f"{name} can't be started: {binary}: {error.strerror}") from error

    def node_id(self) -> str | None:
        """The node's ID, which it logs long before it listens; None until then."""
        node_id = logs.node_id_in(self._since_start("main"))
        if node_id is None and self.listens():  # its log may be off
            node_id = str(self._info().call("info.getNodeID")["nodeID"])
        return node_id

    def bls_key(self) -> str:
        """The public key of its warp signatures, 48 bytes in hex, once it listens."""
        proof = self._info().call("info.getNodeID")["nodePOP"]
        return str(proof["publicKey"]).removeprefix("0x")

    def listens(self) -> bool:
        """Whether the node has registered its plugins and listens, so that `uri` is known.

        Raises `NetworkError` if it exited, `PluginFailed` if a plugin could not be registered.
        """
        if not self.uri:
            addresses = self._read_process_file()
            if addresses is not None:
                self._check_registration()
                self.uri = addresses["uri"]
                self.staking_port = int(addresses["stakingAddress"].rpartition(":")[2])
        self.check_alive()
        return bool(self.uri)

    def name_chain(self, chain: ChainRecord) -> None:
        """Serve the chain under its name, even before it exists: the alias file affects no URLs.

        Can't be repeated after a timeout, since a node refuses a name twice, so this waits longer.
        """
        if chain.name in self._named:
            return
        endpoint, alias = f"bc/{chain.chain_id}", f"bc/{chain.name}"
        JSONRPCClient(f"{self.uri}/ext/admin").call("admin.alias", endpoint=endpoint, alias=alias)
        self._named.add(chain.name)

    def has_primary_network(self) -> bool:
        """Whether the P-chain is bootstrapped. Raises `NetworkError` if the node exited."""
        bootstrapped = self._is_bootstrapped("P")
        self.check_alive()
        return bootstrapped

    def runs(self, chain: ChainRecord) -> bool:
        """Whether the chain is bootstrapped.

        Raises `PluginFailed` if the node could not create it or stopped it, once the plugin's last
        output is sure to be in the log, and `NetworkError` if the node exited.
        """
        bootstrapped = self._is_bootstrapped(chain.chain_id)
        self.check_alive()
        main, lines = self._since_start("main"), self._since_start(chain.name)
        failure = logs.chain_failure(
            self.name, chain.name, chain.chain_id, main, lines, self._path(chain.name)
        )
        if failure is None:
            return bootstrapped
        now_s = time.monotonic()
        if self._failed_at_s is None:
            self._failed_at_s = now_s
        if now_s < self._failed_at_s + _OUTPUT_DELAY_S:
            return False
        raise failure

    def check_alive(self) -> None:
        """Raise `NetworkError` with the reason if the node's process has exited."""
        if not self.process.running:
            main, output = self._since_start("main"), self._output.new_lines()
            raise logs.node_exit(self.name, self.process.exit_code, main, output, self._path("main"))

    def timed_out(self, chains: Iterable[ChainRecord], timeout_s: float) -> NetworkError:
        """The error if the node or one of the chains isn't ready after `timeout_s`."""
        for chain in chains if self.uri and self.has_primary_network() else ():
            if not self.runs(chain):
                lines = self._since_start(chain.name)[-logs.SHOWN_LINES :]
                what = f"the chain {chain.name} failed on {self.name}"
                reason = f"it did not bootstrap within {timeout_s:g} s"
                return PluginFailed(what, reason, lines, self._path(chain.name))
        lines = [*self._since_start("main")[-5:], *self._since_start("vm-factory")[-logs.SHOWN_LINES :]]
        text = f"{self.name} was not ready after {timeout_s:g} s"
        return NetworkError(with_lines(text, lines, self._path("main")))

    def _check_registration(self) -> None:
        failure = logs.registration_failure(
            self.name,
            self._since_start("main"),
            self._since_start("vm-factory"),
            self._plugin_dir,
            self._path("vm-factory"),
        )
        if failure is not None:
            raise failure

    def _read_process_file(self) -> dict[str, str] | None:
        try:
            content = json.loads(self._process_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None  # missing, or being written
        return content if content["pid"] == self.process.pid else None

    def _is_bootstrapped(self, chain: str) -> bool:
        try:
            return bool(self._info().call("info.isBootstrapped", chain=chain)["isBootstrapped"])
        except (CallFailed, NodeUnreachable):
            return False  # the chain does not exist yet, or the node is exiting

    def _info(self) -> JSONRPCClient:
        return JSONRPCClient(f"{self.uri}/ext/info", _CALL_TIMEOUT_S)

    def _path(self, log: str) -> Path:
        return self._log_dir / f"{log}.log"

    def _since_start(self, log: str) -> list[str]:
        reader = self._logs.setdefault(log, LogFile(self._path(log)))
        lines = self._lines.setdefault(log, [])
        lines += reader.new_lines()
        return lines


def _environment(temporary: Path) -> dict[str, str]:
    """This process's, but temporary files, such as a keystore, go to the node's directory."""
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary)}
