"""The chain that tests drive: one node, one VM, in this process or as a plugin."""

from __future__ import annotations

import contextlib
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
from vmsdk.errors import VMError
from vmsdk.host.appnetwork import Peer, PeerRequest, Relay
from vmsdk.host.chain import Chain as HostChain
from vmsdk.host.errors import ChainMisused, HostError
from vmsdk.host.identity import DEFAULT_NODE_ID, NodeIdentity
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.state import Event, State
from vmsdk.testing.blocks import Block, BlockTree
from vmsdk.testing.faults import Faults, When, garbage
from vmsdk.testing.hook import client
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

EVENT_TIMEOUT_S = 5.0
"""How long `Chain.build` waits for the VM to report work."""
WAIT_TIMEOUT_S = 10.0
HANDSHAKE_TIMEOUT_S = 60.0
_RECHECK_S = 0.05
_WIRE_LINES = 60
_LOG_LINES = 2_000
_REPORTED_LINES = 40
_NANOSECONDS = 1_000_000_000


class Chain:
    """One chain on one node, which a test drives like the node's consensus engine.

    *vm* is the class of the VM, a function that makes one, or the command of a plugin. With
    *process*, a class runs as a plugin in its own process, as on a node; a command always does.
    *genesis* and *upgrade* are bytes, text, or a value that is encoded as JSON. *issue* submits a
    transaction by HTTP; without it, `submit` calls the VM's own method of that name. *fields* are
    those of `vmsdk.host.config.ChainConfig`.

    As a context manager it starts, and stops like a node. Errors of the VM are those of
    `vmsdk.host.errors`.
    """

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
        self.in_process = not (process or self._is_command)
        """Whether the VM runs in this process."""
        self.genesis_data = _content(genesis)
        self.upgrade = upgrade
        """The chain's upgrade file, which the VM reads when it starts: set it before a restart."""
        self._issue = issue
        self._protocol = protocol
        self._fields = fields
        self._resources = ExitStack()
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        """The last lines that the VM has logged or printed, over all its lives."""
        self.wire: deque[str] = deque(maxlen=_WIRE_LINES)
        """The last calls: `->` of the VM by its node, `<-` of the node by its VM."""
        self.faults = Faults(self._record)
        """Makes calls fail, hang and get lost."""
        self.environment: dict[str, str] = {}
        """Variables for the process of a plugin, besides the few that a node's plugins get."""
        self._host: Host | None = None
        self._remote: RemoteVM | None = None
        self._front: HTTPFront | None = None
        self._tree = BlockTree(self.block)
        self._peers: list[Chain] = []
        self._connected: list[Chain] = []
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
            "upgrade": _content(self.upgrade),
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
                command = ["/usr/bin/env", *variables, *command]
            host = Host(command, **options)
        self._host = host
        try:
            host.connect()
            self.faults.attach(host.client, host.services, self._crash)
            if self._remote is not None:
                self._remote.accept()
            self._begin(blocks, summaries)
        except BaseException:
            self.stop()
            raise
        self._tree.note(host.chain.last_accepted, "accepted")
        return self

    def use_this_process(self) -> None:
        """Run the VM in this process from the next start on, unless it is a command."""
        self.in_process = not self._is_command

    def stop(self) -> None:
        """Stop the VM like a node. Idempotent."""
        self._end(lambda host: host.stop())

    def kill(self) -> None:
        """Kill the VM, as by SIGKILL. Go on with `restart`."""
        self._end(lambda host: host.kill())

    def restart(self) -> None:
        """Stop the VM, unless it has ended, and start it again on the same database and files.

        Undecided blocks are forgotten, as by a node.
        """
        if self.is_running:
            self.stop()
        else:
            self.kill()
        self._tree.forget_undecided()
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether the VM runs: neither stopped nor crashed, nor stopped by a fatal error."""
        return self._host is not None and self._host.process.alive and self._host.chain.engine.fault is None

    def crash_at(self, what: str, number: int = 1, when: When = "before") -> None:
        """Make the VM crash before or after the *number*-th *what* from now: see
        `Faults.crash_at`.

        The call during which it crashes raises `HostError`. Go on with `restart`.
        """
        self.faults.crash_at(what, number, when)

    def close(self) -> None:
        """Stop, and remove the chain's data and its peers."""
        for peer in self._peers:
            peer.close()
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
        """The node's disk, in memory, which outlives the VM."""
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
            chain.connect(_PeerOf(self, other))
        if syncing:
            chain.sync_state(summaries)
        chain.bootstrap(blocks)
        chain.begin_normal_operation()

    # Blocks ---------------------------------------------------------------------------------------

    def submit(self, *txs: Any) -> Any:
        """Submit transactions; returns what the VM returns for the last one, such as its ID.

        Raises what the VM raises to refuse one.
        """
        result = None
        for tx in txs:
            result = self._submit(tx)
        return result

    def build(self, *, wait: bool = True) -> Block:
        """Build a block on the preferred one when the VM reports work, verify it and prefer it.

        Without *wait*, the VM is asked at once. Raises `CallFailed` if it builds nothing, and
        `ChainMisused` if it reports no work within 5 s.
        """
        chain = self._chain
        if wait and chain.next_event(EVENT_TIMEOUT_S) is not Event.BUILD_BLOCK:
            if chain.engine.fault is not None:
                raise chain.engine.fault
            raise ChainMisused(
                f"the VM has reported no work within {EVENT_TIMEOUT_S:g} s: does has_pending_work return "
                "True, and was ctx.notify() called? To build a block anyway, use build(wait=False)"
            )
        block = self._tree.add(chain.build_block(), "built")
        self.verify(block)
        chain.prefer(block.id)
        return block

    def fork(self, parent: Block, txs: Iterable[Any]) -> Block:
        """Return a verified block on *parent* that contains *txs*, built by another validator.

        That is a second VM with the same state and no other transactions.
        """
        with self._validator(parent) as other:
            other.submit(*txs)
            raw = other._chain.build_block().raw
        return self.verify(raw)

    def parse(self, raw: bytes) -> Block:
        """Parse the bytes of a block. Raises `CallFailed` if the VM refuses them."""
        return self._tree.add(self._chain.parse_block(raw), "parsed")

    def verify(self, block: Block | bytes) -> Block:
        """Verify a block, which is then processing. Its bytes are parsed first, as from a peer.

        Raises `CallFailed` if the VM refuses it.
        """
        known = self.parse(block if isinstance(block, bytes) else block.raw)
        self._chain.verify(known.found)
        self._tree.note(known.found, "processing")
        return known

    def prefer(self, block: Block) -> None:
        """Make the VM build on *block*."""
        self._chain.prefer(block.id)

    def accept(self, block: Block) -> list[Block]:
        """Accept *block*, after its undecided ancestors. Returns those rejected, parents first."""
        path = [block]
        while path[0].parent_id != self._chain.last_accepted.id and path[0].height > 0:
            path.insert(0, path[0].parent)
        rejected: list[Block] = []
        for each in path:
            lost = self._chain.accept(each.found)
            self._tree.note(each.found, "accepted")
            rejected.extend(self._tree.note(one, "rejected") for one in lost)
        return rejected

    def produce(self, *txs: Any) -> Block:
        """Submit *txs*, then build, verify and accept a block."""
        self.submit(*txs)
        block = self.build()
        self.accept(block)
        return block

    @property
    def last(self) -> Block:
        """The last accepted block."""
        return self._tree.blocks[self._chain.last_accepted.id]

    @property
    def height(self) -> int:
        """The height of the last accepted block."""
        return self._chain.last_accepted.height

    @property
    def accepted(self) -> list[Block]:
        """The blocks whose acceptance this test has seen, by height. Needs no running VM."""
        return self._tree.accepted()

    @property
    def processing(self) -> list[Block]:
        """The verified, undecided blocks; parents come first."""
        return [self._tree.blocks[each.id] for each in self._chain.processing]

    def block(self, block_id: ID) -> Block:
        """Return a block by its ID. Raises `LookupError` if neither node nor VM has it."""
        if block_id not in self._tree.blocks:
            found = self._chain.get_block(block_id)
            if found is None:
                raise LookupError(f"there is no block {block_id}")
            self._tree.add(found, "accepted")
        return self._tree.blocks[block_id]

    def block_at(self, height: int) -> Block:
        """Return the accepted block at *height*, by the VM's index. Raises `LookupError`."""
        block_id = self._chain.get_block_id_at_height(height)
        if block_id is None:
            raise LookupError(f"there is no accepted block at height {height}")
        return self.block(block_id)

    def blocks(self) -> list[Block]:
        """Return the accepted blocks that the VM still has, from the lowest to the last."""
        found: list[Block] = []
        for height in range(self.height, -1, -1):
            try:
                found.insert(0, self.block_at(height))
            except LookupError:
                break
        return found

    # The VM's environment -------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """The time in Unix seconds, by the clock that the VM reads.

        It runs until it is set; then it stands still, and only a test moves it: `chain.time += 10`.
        All VMs of a test share one clock.
        """
        return timestamp.now_ns() / _NANOSECONDS

    @time.setter
    def time(self, seconds: float) -> None:
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
        """All that the VM has written to its database."""
        return dict(self.host.services.database.space.items())

    def health(self) -> Any:
        """Return the VM's health details. Raises `CallFailed` if it is unhealthy."""
        return self._chain.health()

    # Peers ----------------------------------------------------------------------------------------

    def peer(self, *, state_sync: bool = False) -> Chain:
        """Start another node of the chain, with this one's accepted blocks, and connect the two.

        Messages between them are delivered. With *state_sync*, it is offered this VM's last state
        summary first.
        """
        other = self._another(len(self._peers) + 1)
        self._peers.append(other)
        summaries = []
        if state_sync:
            last = self._chain.state_sync.last()
            if last is None:
                raise ChainMisused("the VM offers no state summary yet")
            summaries.append(last.raw)
        other._connected.append(self)
        self._connected.append(other)
        other.start(blocks=[block.raw for block in self.blocks() if block.height > 0], summaries=summaries)
        self._chain.connect(_PeerOf(self, other))
        return other

    def follow(self, other: Chain) -> None:
        """Verify and accept the blocks that *other* has accepted since."""
        for height in range(self.height + 1, other.height + 1):
            self.accept(self.verify(other.block_at(height).raw))

    def wait_until(self, condition: Callable[[], object], timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Wait until *condition* returns something true. Raises `TimeoutError`.

        It is called after each message between peers, and now and then.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition is not met after {timeout_s:g} s")
            with self._delivered:
                self._delivered.wait(_RECHECK_S)

    def cancel_waits(self, count: int = 100) -> None:
        """Make the node give up waiting for events, and wait again, *count* times."""
        for _ in range(count):
            self._chain.ask_again()

    def send_garbage(self, count: int = 100, *, seed: int = 0) -> None:
        """Send the VM *count* faulty messages, requests and blocks, as a hostile peer may.

        Raises `ChainFatal` if one stops the chain, and `CallFailed` if the VM is unhealthy
        afterwards.
        """
        chain = self._chain
        stranger = NodeID(bytes(19) + b"\xff")
        chain.connect(Peer(stranger))
        network = self.host.services.network
        for number, message in enumerate(garbage(seed, count)):
            if number % 3 == 0:
                chain._messages.app_gossip(stranger, message)
            elif number % 3 == 1:
                with contextlib.suppress(VMError):
                    network.request(stranger, message).result(WAIT_TIMEOUT_S)
            else:
                with contextlib.suppress(HostError):
                    chain.parse_block(message)
            if chain.engine.fault is not None:
                raise chain.engine.fault
        chain.disconnect(stranger)
        chain.health()

    # HTTP -----------------------------------------------------------------------------------------

    @cached_property
    def http(self) -> httpx.Client:
        """A client at the chain's URL: `chain.http.get("/api/accounts")`."""
        return client(self.url(), has_slash="/" in self._chain.handlers)

    def url(self, path: str = "", *, scheme: str = "http") -> str:
        """Return the URL of *path* within the chain."""
        if self._front is None:
            from vmsdk.host.http.front import HTTPFront

            config, chain = self.host.config, self._chain
            if self.in_process:
                chain.create_handlers()  # Imported late, since it takes longer than the rest of a start.
            if chain.handlers_error is not None:
                raise chain.handlers_error
            self._front = HTTPFront(config.protocol, config.identity.node_id)
            self._front.start()
            self._front.add_chain(config.chain_id, (), chain.handlers, chain.http_handler)
            self._front.set_normal_op(config.chain_id, True)
        return f"{scheme}://{self._front.address}/ext/bc/{self.host.config.chain_id}{path}"

    @contextmanager
    def websocket(self, path: str = "") -> Iterator[ClientConnection]:
        """Open a WebSocket of the chain."""
        from websockets.sync.client import connect

        with connect(self.url(path, scheme="ws"), open_timeout=WAIT_TIMEOUT_S) as socket:
            yield socket

    # For reports ----------------------------------------------------------------------------------

    def tree(self) -> str:
        """Return the blocks as a tree, in text, with the status of each."""
        running = self._host if self.is_running else None
        return self._tree.text(None if running is None else running.chain.preference)

    def report(self, name: str = "chain") -> list[tuple[str, str]]:
        """Return titled texts for a failed test: the blocks, the last calls, the VM's log."""
        last_lines = list(self.log)[-_REPORTED_LINES:]
        parts = {"blocks": self.tree(), "last calls": "\n".join(self.wire), "log": "\n".join(last_lines)}
        return [(f"{name}: {title}", text) for title, text in parts.items() if text]

    # Inside ---------------------------------------------------------------------------------------

    def _record(self, line: str) -> None:
        self.wire.append(line)
        with self._delivered:
            self._delivered.notify_all()

    @property
    def _chain(self) -> HostChain:
        return self.host.chain

    def _submit(self, tx: Any) -> Any:
        if self._issue is not None:
            return self._issue(self.http, tx)
        if self._remote is not None:
            return self._remote.call("submit", tx if isinstance(tx, bytes) else tx.raw)
        submit = None if self._is_command else getattr(self.vm, "submit", None)
        if submit is None:
            raise ChainMisused(
                "the VM has no method submit(tx) that this process can call: give the chain a function "
                "issue(client, tx), which submits by HTTP (pytest: define a fixture called issue)"
            )
        return submit(tx)

    def _another(self, number: int) -> Chain:
        identity = NodeIdentity(NodeID(DEFAULT_NODE_ID[:-1] + bytes([DEFAULT_NODE_ID[-1] + number])))
        fields = {**self._fields, "identity": identity}
        return Chain(
            self._given,
            genesis=self.genesis_data,
            upgrade=self.upgrade,
            process=not self.in_process,
            issue=self._issue,
            protocol=self._protocol,
            **fields,
        )

    @contextmanager
    def _validator(self, parent: Block) -> Iterator[Chain]:
        """Another validator, that has accepted the same blocks and prefers *parent*."""
        path: list[Block] = []
        while parent.id != self._chain.last_accepted.id:
            if parent.height <= self.height:
                raise ChainMisused(f"can't build on {parent!r}: it is below the last accepted block")
            path.insert(0, parent)
            parent = parent.parent
        other = self._another(100)
        other.use_this_process()
        try:
            self.disk.copy_to(other.disk)
            other.start()
            for each in path:
                other.prefer(other.verify(each.raw))
            yield other
        finally:
            other.close()


class _PeerOf(Relay):
    """*other* as *chain* sees it, whose faults disturb the messages."""

    def __init__(self, chain: Chain, other: Chain) -> None:
        super().__init__(
            other.node_id, chain.node_id, lambda: other.host.services.network if other.is_running else None
        )
        self._faults = chain.faults

    def app_request(self, request: PeerRequest) -> None:
        self._faults.pass_on(lambda: super(_PeerOf, self).app_request(request))

    def app_gossip(self, message: bytes) -> None:
        self._faults.pass_on(lambda: super(_PeerOf, self).app_gossip(message))


class _Clock:
    """The clock of this process and of the plugins that its chains start."""

    moment: ClassVar[int | None] = None
    """Where it stands, in Unix nanoseconds; None if it runs."""

    @classmethod
    def stop_at(cls, moment: int) -> None:
        cls.moment = moment
        timestamp.set_clock(lambda: moment)

    @classmethod
    def run(cls) -> None:
        cls.moment = None
        timestamp.set_clock(time.time_ns)


def _content(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    return (data if isinstance(data, str) else json.dumps(data)).encode()
