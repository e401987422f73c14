"""One start of a node, watched until it works or has failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmsdk.network import diagnosis
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import CallFailed, ChainFailed, NodeDied, NodeNotReady, NodeUnreachable
from vmsdk.network.logs import LogFile
from vmsdk.network.process import Process
from vmsdk.network.state import ChainRecord

READY_TIMEOUT_S = 60.0
"""A node takes about 0.3 s, a plugin's registration up to 5 s more, a chain as long as its VM takes to initialize."""

_POLL_S = 0.02
_CALL_TIMEOUT_S = 5.0


class Launch:
    """A node's process from its start on, and what its logs have said since."""

    def __init__(self, name: str, command: list[str], data_dir: Path, plugin_dir: Path) -> None:
        """Starts the process.

        Raises:
            NodeDied: the system cannot run the binary.
        """
        self.name = name
        self._plugin_dir = plugin_dir
        self._process_file = data_dir / "process.json"
        self._log_dir = data_dir / "logs"
        self._logs: dict[str, LogFile] = {}
        self._lines: dict[str, list[str]] = {}
        self._output = LogFile.at_end(data_dir / "output.log")
        data_dir.mkdir(parents=True, exist_ok=True)
        self._process_file.unlink(missing_ok=True)
        for log in ("main", "vm-factory", *(path.stem for path in self._log_dir.glob("*.log"))):
            self._logs[log] = LogFile.at_end(self._path(log))
        try:
            self.process = Process.start(command, self._output.path)
        except OSError as error:
            raise NodeDied(name, None, [f"{command[0]}: {error.strerror}"], self._output.path) from error
        self.uri = ""
        self.staking_port = 0

    @property
    def http_port(self) -> int:
        return int(self.uri.rpartition(":")[2])

    def await_ports(self, deadline: float) -> None:
        """Waits until the node listens and tells where: `uri` and `staking_port`.

        Raises:
            PortTaken, FileLimitTooLow, NodeDied: it ended.
            NodeNotReady: a plugin's registration or something else holds it up.
        """
        while True:
            self._check_alive()
            said = self._read_process_file()
            if said is not None:
                self.uri = said["uri"]
                self.staking_port = int(said["stakingAddress"].rpartition(":")[2])
                return
            self._sleep(deadline)

    def node_id(self, deadline: float) -> str:
        """The node's identity.

        Raises:
            NodeDied, NodeNotReady: it ended, or does not answer.
        """
        return str(self._insist(lambda: self._info().call("info.getNodeID"), deadline)["nodeID"])

    def name_chain(self, chain: ChainRecord, deadline: float) -> None:
        """Serves the chain, also one that is yet to come, at its name too: the file of aliases does not reach URLs.

        Raises:
            NodeDied, NodeNotReady: the node ended, or does not answer.
        """
        admin = JSONRPCClient(f"{self.uri}/ext/admin", _CALL_TIMEOUT_S)
        endpoint, alias = f"bc/{chain.chain_id}", f"bc/{chain.name}"
        self._insist(lambda: admin.call("admin.alias", endpoint=endpoint, alias=alias), deadline)

    def await_primary_network(self, deadline: float) -> None:
        """Waits until the P-chain takes work.

        Raises:
            PluginNotRegistered: the registration launch of a plugin failed.
            NodeDied, NodeNotReady: it ended, or takes too long.
        """
        failure = diagnosis.registration_failure(
            self.name,
            self._since_start("main"),
            self._since_start("vm-factory"),
            self._plugin_dir,
            self._path("vm-factory"),
        )
        if failure is not None:
            raise failure
        while not self._is_bootstrapped("P"):
            self._check_alive()
            self._sleep(deadline)

    def await_chain(self, chain: ChainRecord, deadline: float) -> None:
        """Waits until the chain takes work.

        Raises:
            ChainFailed: the node could not make it, or stopped it, or it is not bootstrapped in time.
            NodeDied: the node ended.
        """
        while True:
            bootstrapped = self._is_bootstrapped(chain.chain_id)
            self._check_alive()
            failure = self._chain_failure(chain)
            if failure is not None:
                raise failure
            if bootstrapped:
                return
            if time.monotonic() > deadline:
                lines = self._since_start(chain.name)[-diagnosis.SHOWN_LINES :]
                raise ChainFailed(
                    self.name, chain.name, "it did not bootstrap in time", lines, self._path(chain.name)
                )
            time.sleep(_POLL_S)

    def _insist(self, call: Callable[[], Any], deadline: float) -> Any:
        """Calls until there is an answer: a node that ends stops answering before its process is gone."""
        while True:
            try:
                return call()
            except NodeUnreachable:
                self._check_alive()
                self._sleep(deadline)

    def _chain_failure(self, chain: ChainRecord) -> ChainFailed | None:
        return diagnosis.chain_failure(
            self.name,
            chain.name,
            chain.chain_id,
            self._since_start("main"),
            self._since_start(chain.name),
            self._path(chain.name),
        )

    def _check_alive(self) -> None:
        if not self.process.running:
            main, output = self._since_start("main"), self._output.new_lines()
            raise diagnosis.node_death(self.name, self.process.exit_code, main, output, self._path("main"))

    def _sleep(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            lines = [
                *self._since_start("main")[-5:],
                *self._since_start("vm-factory")[-diagnosis.SHOWN_LINES :],
            ]
            raise NodeNotReady(self.name, READY_TIMEOUT_S, lines, self._path("main"))
        time.sleep(_POLL_S)

    def _read_process_file(self) -> dict[str, str] | None:
        try:
            said = json.loads(self._process_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None  # not there, or being written
        return said if said["pid"] == self.process.pid else None

    def _is_bootstrapped(self, chain: str) -> bool:
        try:
            return bool(self._info().call("info.isBootstrapped", chain=chain)["isBootstrapped"])
        except (CallFailed, NodeUnreachable):
            return False  # the chain is not made yet; or the node just ended, which the caller looks at

    def _info(self) -> JSONRPCClient:
        return JSONRPCClient(f"{self.uri}/ext/info", _CALL_TIMEOUT_S)

    def _path(self, log: str) -> Path:
        return self._log_dir / f"{log}.log"

    def _since_start(self, log: str) -> list[str]:
        reader = self._logs.setdefault(log, LogFile(self._path(log)))
        lines = self._lines.setdefault(log, [])
        lines += reader.new_lines()
        return lines
