"""One node with one VM, in this process or as a plugin, which tests start, stop and crash."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from typing_extensions import Self

from vmsdk import timestamp
from vmsdk.errors import MissingExtra
from vmsdk.host.appnetwork import PeerRequest, Relay
from vmsdk.host.chain import Chain as HostChain
from vmsdk.host.errors import ChainMisused
from vmsdk.host.identity import DEFAULT_NODE_ID, NodeIdentity
from vmsdk.host.node import Host
from vmsdk.host.plugin import with_variables
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.state import State
from vmsdk.testing.faults import Faults, When
from vmsdk.testing.hook import client, serve
from vmsdk.testing.local import LocalHost, LocalProcess
from vmsdk.testing.remote import RemoteVM
from vmsdk.vm import ChainVM

if TYPE_CHECKING:
    import httpx
    from websockets.sync.client import ClientConnection

    from vmsdk.host.http.front import HTTPFront

VM: TypeAlias = "type[ChainVM] | Callable[[], ChainVM] | Sequence[str] | Path"
"""A class, a function that makes the VM, or the command of a plugin."""
Issue: TypeAlias = "Callable[[httpx.Client, Any], Any]"
"""Submits a transaction by HTTP: gets a client at the chain's URL, and the transaction."""

WAIT_TIMEOUT_S = 10.0
HANDSHAKE_TIMEOUT_S = 60.0
_WIRE_LINES = 60
_LOG_LINES = 2_000
_LAST_SECOND = 253_402_300_799
_NANOSECONDS = 1_000_000_000


class Node:
    """One node with one VM. For the parameters, see `vmsdk.testing.Chain`."""

    def __init__(
        self,
        vm: VM,
        *,
        genesis: bytes | str | dict[str, Any] | list[Any] = b"",
        upgrade: bytes | str | dict[str, Any] | list[Any] = b"",
        process: bool = False,
        issue: Issue | None = None,
        protocol: int = DEFAULT_PROTOCOL,
        **fields: Any,
    ) -> None:
        self._given = vm
        self._is_command = isinstance(vm, (str, Path, Sequence)) and not callable(vm)
        if not self._is_command and not callable(vm):
            raise TypeError(
                "a chain takes the VM's class, a function that makes a VM, or a plugin's command, not "
                f"{vm!r}: each restart needs a new VM"
            )
        self.in_process = not (process or self._is_command)
        """Whether the VM runs in this process."""
        self.genesis_data = _content("genesis", genesis)
        self.upgrade = upgrade
        """The chain's upgrade file, which the VM reads when it starts: set it before a restart."""
        self._issue = issue
        self._protocol = protocol
        self._fields = fields
        self._resources = ExitStack()
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        """The last lines that the VM has logged or printed, across restarts."""
        self.wire: deque[str] = deque(maxlen=_WIRE_LINES)
        """The last calls: `->` from the node to its VM, `<-` from the VM to its node."""
        self.faults = Faults(self._record)
        """Makes calls fail, hang and get lost."""
        self.environment: dict[str, str] = {}
        """Variables for the process of a plugin, besides the few that a node sets."""
        self._host: Host | None = None
        self._was_started = False
        self._remote: RemoteVM | None = None
        self._front: HTTPFront | None = None
        self._connected: list[Node] = []
        self._delivered = threading.Condition()

    # Life -----------------------------------------------------------------------------------------

    def start(self, *, blocks: Iterable[bytes] = (), summaries: Iterable[bytes] = ()) -> Self:
        """Start the VM and bring the chain to normal operation. Peers offer *blocks* and
        *summaries*.
        """
        if self._host is not None:
            raise ChainMisused("the chain is already running: call restart()")
        options = {
            "database": self.disk,
            "chain_data_dir": self.data,
            "genesis": self.genesis_data,
            "upgrade": _content("upgrade", self.upgrade),
            "protocol": self._protocol,
            # A node gives a plugin 5 s, but a test must not depend on the machine's load.
            "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
            "patient": False,
            "log": lambda _stream, line: self.log.append(line),
            **self._fields,
        }
        if self.in_process:
            host: Host = LocalHost(self._make_vm, **options)
        else:
            command: Any = self._given
            if not self._is_command:
                self._remote = RemoteVM()
                command = self._remote.command(command, self._protocol, _Clock.moment)
            if self.environment:
                variables = (f"{name}={value}" for name, value in self.environment.items())
                command = with_variables(command, *variables)
            host = Host(command, **options)
        self._host = host
        self._was_started = True
        try:
            host.connect()
            self.faults.attach(host.client, host.services, self._crash)
            if self._remote is not None:
                self._remote.accept()
            self._begin(blocks, summaries)
        except BaseException:
            self.stop()
            raise
        return self

    def use_this_process(self) -> None:
        """Run the VM in this process from the next start on, unless it is a command."""
        self.in_process = not self._is_command

    def stop(self) -> None:
        """Stop the VM like a node. Idempotent."""
        self._end(lambda host: host.stop())

    def kill(self) -> None:
        """Kill the VM, as by SIGKILL. `restart` starts it again."""
        self._end(lambda host: host.kill())

    def restart(self) -> None:
        """Stop the VM, unless it has ended, and start it again on the same database and files."""
        if self.is_running:
            self.stop()
        else:
            self.kill()
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether the VM runs: neither stopped nor crashed, nor stopped by a fatal error."""
        return self._host is not None and self._host.process.alive and self._host.chain.engine.fault is None

    def crash_at(self, what: str, number: int = 1, when: When = "before") -> None:
        """Make the VM crash before or after the *number*-th *what* from now: see
        `Faults.crash_at`.

        The call during which it crashes raises `HostError`. `restart` starts it again.
        """
        self.faults.crash_at(what, number, when)

    def close(self) -> None:
        """Stop, and remove the chain's data."""
        try:
            self.stop()
        finally:
            self._resources.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def disk(self) -> SQLiteDatabase:
        """The node's database, in memory, which is kept across restarts."""
        return self._resources.enter_context(SQLiteDatabase())

    @cached_property
    def data(self) -> Path:
        """The folder for the VM's files."""
        return Path(self._resources.enter_context(TemporaryDirectory(prefix="vmsdk-testing-")))

    def _make_vm(self) -> ChainVM:
        given: Any = self._given
        vm = given()
        if not isinstance(vm, ChainVM):
            raise TypeError(f"{given!r} made {vm!r}, which is not a vmsdk.ChainVM: return a VM, or its class")
        return vm

    def _crash(self) -> None:
        """Kill the VM from within one of its calls."""
        if self._host is not None:
            self._host.process._kill()
            self._host.process.wait(WAIT_TIMEOUT_S)

    def _end(self, end: Callable[[Host], object]) -> None:
        host, self._host = self._host, None
        front, self._front = self._front, None
        remote, self._remote = self._remote, None
        try:
            if "http" in self.__dict__:
                self.__dict__.pop("http").close()
            if front is not None:
                front.stop()
            if host is not None:
                end(host)
        finally:
            if remote is not None:
                remote.close()

    def _begin(self, blocks: Iterable[bytes], summaries: Iterable[bytes]) -> None:
        """Bring the VM to normal operation, connected to the chain's peers from the beginning."""
        chain = self._chain
        chain.initialize()
        if not self.in_process:
            chain.create_handlers()
        syncing = chain.state_sync.enabled()
        chain.begin_events()
        chain.set_state(State.STATE_SYNCING if syncing else State.BOOTSTRAPPING)
        chain.open_messages()
        for other in self._connected:
            chain.connect(RelayTo(other, self))
        if syncing:
            chain.sync_state(summaries)
        chain.bootstrap(blocks)
        chain.begin_normal_operation()

    # The VM's environment -------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """The time in Unix seconds, by the clock that the VM reads.

        It runs until it is set; from then on, only a test moves it: `chain.time += 10`. All VMs of
        a test share one clock.
        """
        return timestamp.now_ns() / _NANOSECONDS

    @time.setter
    def time(self, seconds: float) -> None:
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LAST_SECOND:
            raise ValueError(
                f"chain.time is in Unix seconds, from 0 to {_LAST_SECOND} (the year 9999), not {seconds!r}: "
                "for a datetime, use its timestamp()"
            )
        moment = int(seconds * _NANOSECONDS)
        _Clock.stop_at(moment)
        self._resources.callback(_Clock.run)
        for chain in (self, *self._connected):
            if chain._remote is not None:
                chain._remote.call("set_time", moment)

    @property
    def id(self) -> ID:
        """The chain's ID, which signatures cover."""
        return self.host.config.chain_id

    @property
    def node_id(self) -> NodeID:
        """The ID of the node."""
        identity: NodeIdentity | None = self._fields.get("identity")
        return DEFAULT_NODE_ID if identity is None else identity.node_id

    @property
    def host(self) -> Host:
        """The node. Raises `ChainMisused` while the VM is stopped."""
        if self._host is None:
            if not self._was_started:
                raise ChainMisused("the chain has not been started: call start(), as in make_chain().start()")
            raise ChainMisused("the VM is stopped: call restart()")
        return self._host

    @property
    def vm(self) -> Any:
        """The VM itself, in this process only. Raises `ChainMisused` for a plugin."""
        process = self.host.process
        if not isinstance(process, LocalProcess):
            raise ChainMisused(
                "the VM runs in its own process, so its object is out of reach: use its HTTP "
                "interface, or mark the test as @pytest.mark.in_process"
            )
        return process.vm

    @contextmanager
    def snapshot(self, *, pending: bool = False) -> Iterator[Any]:
        """Open the last accepted state of a `vmsdk.chain.Chain`, in this process only."""
        with self.vm.snapshot(pending=pending) as state:
            yield state

    @property
    def stored(self) -> dict[bytes, bytes]:
        """What the VM has stored in its database."""
        return dict(self.host.services.database.space.items())

    def health(self) -> Any:
        """Return the VM's health details. Raises `CallFailed` if it is unhealthy."""
        return self._chain.health()

    # HTTP -----------------------------------------------------------------------------------------

    @cached_property
    def http(self) -> httpx.Client:
        """A client at the chain's URL: `chain.http.get("/api/accounts")`."""
        return client(self.url(), has_slash="/" in self._chain.handlers)

    def url(self, path: str = "", *, scheme: str = "http") -> str:
        """Return the URL of *path* within the chain."""
        if self._front is None:
            chain = self._chain
            if self.in_process:
                chain.create_handlers()  # Only now, since it takes longer than the rest of a start.
            if chain.handlers_error is not None:
                raise chain.handlers_error
            self._front = serve(chain)
        return f"{scheme}://{self._front.address}/ext/bc/{self.host.config.chain_id}{path}"

    @contextmanager
    def websocket(self, path: str = "") -> Iterator[ClientConnection]:
        """Open a WebSocket of the chain."""
        try:
            from websockets.sync.client import connect
        except ModuleNotFoundError:
            raise MissingExtra("a WebSocket", package="websockets", extra="testing") from None
        with connect(self.url(path, scheme="ws"), open_timeout=WAIT_TIMEOUT_S) as socket:
            yield socket

    # Inside ---------------------------------------------------------------------------------------

    def _record(self, line: str) -> None:
        self.wire.append(line)
        with self._delivered:
            self._delivered.notify_all()

    @property
    def _chain(self) -> HostChain:
        """The node's chain. Raises `ChainMisused` after a crash that a test asked for."""
        crash = self.faults.crashed_at
        if crash is not None and not self.host.process.alive:
            raise ChainMisused(f"the VM has crashed {crash}, as the test asked: call restart()")
        return self.host.chain


class RelayTo(Relay):
    """Delivers messages of *node* to *other*, disturbed by the faults of *node*."""

    def __init__(self, other: Node, node: Node) -> None:
        super().__init__(
            other.node_id, node.node_id, lambda: other.host.services.network if other.is_running else None
        )
        self._faults = node.faults

    def app_request(self, request: PeerRequest) -> None:
        self._faults.pass_on(lambda: super(RelayTo, self).app_request(request))

    def app_gossip(self, message: bytes) -> None:
        self._faults.pass_on(lambda: super(RelayTo, self).app_gossip(message))


class _Clock:
    """The clock of this process and of the plugins that its chains start."""

    moment: ClassVar[int | None] = None
    """The time at which it is stopped, in Unix nanoseconds; None if it runs."""

    @classmethod
    def stop_at(cls, moment: int) -> None:
        cls.moment = moment
        timestamp.set_clock(lambda: moment)

    @classmethod
    def run(cls) -> None:
        cls.moment = None
        timestamp.set_clock(time.time_ns)


def _content(name: str, data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return (data if isinstance(data, str) else json.dumps(data)).encode()
    except TypeError as error:
        raise TypeError(f"{name} must be bytes, text, or a value for JSON: {error}") from None
