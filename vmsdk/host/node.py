"""A node with one chain. Tests and `vmsdk dev` run VMs with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty
from typing_extensions import Self

from vmsdk.host.chain import Chain
from vmsdk.host.client import VMClient
from vmsdk.host.config import ChainConfig
from vmsdk.host.engine import Engine
from vmsdk.host.errors import ChainFatal, ChainMisused
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, Log, PluginProcess
from vmsdk.host.services import NodeServices
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.host.strict import Strict
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.protocol import protocol as protocol_of

PartT = TypeVar("PartT")

# A node has no deadlines. This one keeps tests from hanging.
CALL_TIMEOUT_S = 60.0


class Host:
    """Starts *command*, a path or an argv, as a plugin and brings its chain to normal operation.

    *fields* are those of `ChainConfig` (*genesis*, *config*, ...). *database* is a file (created if
    missing), an open `SQLiteDatabase` (stays open), or None for one in memory. Peers offer *blocks*
    and *summaries* to the starting chain. *call_timeout_s* is the deadline of each call; a node has
    none. If *on_broken_rule* is given, `Strict` checks the VM and calls it. For the other
    arguments, see `PluginProcess`.

    As a context manager it starts, and stops like a node. `start` raises like `PluginProcess.start`
    and `Chain`, and then leaves nothing behind.
    """

    def __init__(
        self,
        command: Sequence[str] | Path,
        *,
        protocol: int = DEFAULT_PROTOCOL,
        database: SQLiteDatabase | Path | None = None,
        blocks: Iterable[bytes] = (),
        summaries: Iterable[bytes] = (),
        log: Log | None = None,
        on_fault: Callable[[ChainFatal], None] | None = None,
        call_timeout_s: float | None = CALL_TIMEOUT_S,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        stop_timeout_s: float = GRACEFUL_STOP_TIMEOUT_S,
        patient: bool = True,
        on_broken_rule: Callable[[str], None] | None = None,
        **fields: Any,
    ) -> None:
        self.config = ChainConfig(protocol=protocol_of(protocol), **fields)
        self.process = PluginProcess(
            command,
            protocol=protocol,
            log=log,
            handshake_timeout_s=handshake_timeout_s,
            stop_timeout_s=stop_timeout_s,
            patient=patient,
        )
        self.handshake_timeout_s = handshake_timeout_s
        self._database = database
        self._blocks = blocks
        self._summaries = summaries
        self._on_fault = on_fault
        self._on_broken_rule = on_broken_rule
        self._call_timeout_s = call_timeout_s
        self._resources = ExitStack()
        self._client: VMClient | None = None
        self._services: NodeServices | None = None
        self._chain: Chain | None = None

    @property
    def chain(self) -> Chain:
        """The chain. Raises `ChainMisused` before `start`."""
        return _started(self._chain)

    @property
    def services(self) -> NodeServices:
        """The services that the VM can call. Raises `ChainMisused` before `start`."""
        return _started(self._services)

    @property
    def client(self) -> VMClient:
        """The client for raw calls. Raises `ChainMisused` before `start`."""
        return _started(self._client)

    # Start ----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start everything and bring the chain to normal operation. Call once."""
        try:
            self.connect()
            self.chain.start(self._blocks, self._summaries)
        except BaseException:
            # Without its process, the VM can't be shut down.
            if self.process.alive:
                self.stop()
            else:
                self.kill()
            raise
        return self

    def connect(self) -> None:
        """Start the process and the services, but call no method of the VM yet."""
        disk = self._database
        if not isinstance(disk, SQLiteDatabase):
            disk = SQLiteDatabase(disk)
            self._resources.callback(disk.close)
        if self.config.chain_data_dir is None:
            directory = self._resources.enter_context(TemporaryDirectory(prefix="vmsdk-chain-"))
            self.config = replace(self.config, chain_data_dir=Path(directory))
        else:
            self.config.chain_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._services = self._make_services(disk)
        self._resources.callback(self._services.stop)
        self._services.start()
        self._client = self._connect()
        self._chain = chain = Chain(self._client, self._services, on_fault=self._on_fault)
        if self._on_broken_rule is not None:
            own = self._services.disk.space(b"strict/" + self.config.chain_id)
            chain.strict = Strict(chain.engine, self._services.database.space, own, self._on_broken_rule)
        self.process.at_exit(self._plugin_exited)

    def register(self) -> str:
        """Start the plugin for its version only, as a node does first, and shut it down."""
        try:
            self._client = self._connect()
            self.process.at_exit(self._plugin_exited)
            engine = Engine(self._client)
            version = engine.call(self._client.Version, Empty()).version
            engine.call(self._client.Shutdown, Empty())
            return version
        finally:
            self.stop()

    def _make_services(self, disk: SQLiteDatabase) -> NodeServices:
        return NodeServices(self.config, disk=disk)

    def _connect(self) -> VMClient:
        return VMClient(self.process.start(), timeout_s=self._call_timeout_s, wait=self.process.wait)

    def _plugin_exited(self, exit_code: int) -> None:
        if self._client is not None:
            self._client.abort(exit_code)
        if self._services is not None:
            self._services.events.close()

    # Stop -----------------------------------------------------------------------------------------

    def stop(self) -> int | None:
        """Stop like a node. Returns the exit code of the process. Idempotent."""
        if self._chain is not None:
            self._chain.shutdown()
        return self._end()

    def kill(self) -> int | None:
        """Kill the process, as in a crash, and clean up. Returns its exit code."""
        self.process.kill()
        return self._end()

    def _end(self) -> int | None:
        if self._chain is not None:
            self._chain.end_events()
        if self._services is not None:
            self._services.stop_servers()
        if self._client is not None:
            self._client.close()
        exit_code = self.process.stop()
        self._resources.close()
        return exit_code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _started(part: PartT | None) -> PartT:
    if part is None:
        raise ChainMisused("the host is not started yet")
    return part
