"""The plugin under test: how it is started, given work, and grown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, InvalidResponse, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.plugin import PluginProcess
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.ids import ID
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.state import Event
from vmsdk.testing.contract import Skipped, Violation
from vmsdk.testing.hook import Hook, HookFailed, Issue, Refused, client, is_server_error, serve
from vmsdk.testing.pool import Pool, SharedChain
from vmsdk.testing.wire import CALL_TIMEOUT_S, accept, attempt, must_succeed

if TYPE_CHECKING:
    import httpx

# Longer than a node's timeout, since a busy machine is not the plugin's fault.
HANDSHAKE_TIMEOUT_S = 20.0
EVENT_TIMEOUT_S = 10.0
# After this, a VM is asked again whether there is work.
ASK_AGAIN_S = 1.0
_ALIVE_TIMEOUT_S = 10.0
# How long a VM in normal operation may take to find work by itself.
_OWN_WORK_TIMEOUT_S = 5.0
_SIBLING_ATTEMPTS = 5
# A plugin that floods its log must not fill the memory.
_LOG_CHARACTERS = 8 * 1024 * 1024
NO_WORK = "no transaction: give --hook FILE or --request 'PATH JSON'"


@dataclass
class _Traits:
    """What is known of the plugin, shared by all its benches."""

    builds_by_itself: bool | None = None


class Bench:
    """Starts *command*, a plugin, for one check. `fork` makes a bench for the next.

    The VM is initialised with *genesis*, *config* and *upgrade*; *hook* makes transactions.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        protocol: int = DEFAULT_PROTOCOL,
        genesis: bytes = b"",
        config: bytes = b"",
        upgrade: bytes = b"",
        hook: Hook | None = None,
    ) -> None:
        self.command = list(command)
        self.protocol = protocol
        self.genesis = genesis
        self.config = config
        self.upgrade = upgrade
        self.hook = hook
        self.log: list[str] = []
        """The plugin's output in this check. After 8 MiB, the older half is dropped."""
        self._log_size = 0
        self._log_lock = threading.Lock()
        self.is_shared = False
        """Whether this check uses a chain that others have used before."""
        self._pool: Pool | None = None
        self._issue: Issue | None = None
        self._place: tuple[Host, ID] | None = None
        """The host and the last accepted block when the hook was last called."""
        self._waiting = 0
        """How many transactions it has given the VM there."""
        self._traits = _Traits()
        self._processes: list[PluginProcess] = []
        self._urls: dict[Host, str] = {}
        self._clients: dict[Host, httpx.Client] = {}
        self._resources = ExitStack()

    def fork(self, pool: Pool | None = None) -> Bench:
        """Return a bench for another check of the same plugin, which may use chains of *pool*."""
        other = Bench(
            self.command,
            protocol=self.protocol,
            genesis=self.genesis,
            config=self.config,
            upgrade=self.upgrade,
            hook=self.hook,
        )
        other._traits = self._traits
        other._pool = pool
        return other

    @property
    def has_work(self) -> bool:
        """Whether blocks can be built, as far as known."""
        return self.hook is not None or self._traits.builds_by_itself is not False

    # Start and stop -------------------------------------------------------------------------------

    def start(self, *, database: Path | SQLiteDatabase | None = None, **options: Any) -> Host:
        """Return a host, which brings the chain to normal operation as a context manager.

        *options* are those of `Host`.
        """
        host = Host(
            self.command,
            database=database,
            **{
                "genesis": self.genesis,
                "config": self.config,
                "upgrade": self.upgrade,
                "call_timeout_s": CALL_TIMEOUT_S,
                **self._process_options(),
                **options,
            },
        )
        self._processes.append(host.process)
        return host

    def _process_options(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "log": self._keep,
            "patient": False,
            "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
        }

    @contextmanager
    def chain(self) -> Iterator[Host]:
        """A chain in normal operation that other checks may have used, and may use again.

        Leave it as a node would: with the preference that the host knows, without running calls.
        """
        shared = self._pool.take() if self._pool is not None else None
        if shared is None:
            shared = SharedChain(lambda log: self.start(log=log))
            shared.log = self._keep
            shared.host.start()
        else:
            shared.log = self._keep
            self._processes.append(shared.host.process)
            self.is_shared, self._issue = True, shared.issue
        try:
            yield shared.host
        except Skipped:
            self._return_to_pool(shared)
            raise
        except BaseException:
            shared.host.kill()
            raise
        self._return_to_pool(shared)

    def _return_to_pool(self, shared: SharedChain) -> None:
        if self._pool is None or not shared.clean():
            shared.host.kill()
            return
        shared.issue, self._issue = self._issue, None
        self._close_clients()
        self._processes.remove(shared.host.process)
        self._pool.give(shared)

    @contextmanager
    def alone(self, **options: Any) -> Iterator[Host]:
        """A chain in normal operation on its own process, which is killed at the end.

        *options* are those of `start`.
        """
        host = self.start(**options)
        host.start()
        try:
            yield host
        finally:
            host.kill()

    @contextmanager
    def announced(self, **options: Any) -> Iterator[PluginProcess]:
        """Start the plugin, up to its handshake; kill it at the end."""
        process = self.process(**options)
        process.start()
        try:
            yield process
        finally:
            process.kill()

    @contextmanager
    def connected(self, **options: Any) -> Iterator[Host]:
        """Start the plugin, up to its handshake, and connect a host to it; kill it at the end."""
        host = self.start(**options)
        try:
            host.connect()
            yield host
        finally:
            host.kill()

    @contextmanager
    def initialized(self, **options: Any) -> Iterator[Host]:
        """Start the plugin and initialise its VM; kill it at the end."""
        with self.connected(**options) as host:
            host.chain.initialize()
            yield host

    def process(self, **options: Any) -> PluginProcess:
        """Return the plugin's process, not started. *options* are those of `PluginProcess`."""
        process = PluginProcess(self.command, **{**self._process_options(), **options})
        self._processes.append(process)
        return process

    @property
    def running(self) -> list[PluginProcess]:
        """The processes that run."""
        # A copy: checks run in threads, and the runner reads this in its own.
        return [process for process in list(self._processes) if process.alive]

    def close(self) -> None:
        """Kill the processes that still run, and close everything. Idempotent."""
        for process in self.running:
            process.kill()
        self._processes.clear()
        self._close_clients()

    def _close_clients(self) -> None:
        self._urls.clear()
        self._clients.clear()
        self._resources.close()

    def _keep(self, stream: str, line: str) -> None:
        with self._log_lock:
            self.log.append(line)
            self._log_size += len(line) + 1
            if self._log_size > _LOG_CHARACTERS:
                del self.log[: len(self.log) // 2 + 1]
                self._log_size = sum(len(line) + 1 for line in self.log)

    # HTTP -----------------------------------------------------------------------------------------

    def url(self, host: Host) -> str:
        """Return the URL of the host's chain, to which a handler's prefix is appended. It is served
        as on a node until the end of the check.
        """
        if host not in self._urls:
            front = serve(host.chain)
            self._resources.callback(front.stop)
            self._urls[host] = f"http://{front.address}/ext/bc/{host.config.chain_id}"
        return self._urls[host]

    def client(self, host: Host) -> httpx.Client:
        """Return a client whose base URL is `url`. Raises `MissingExtra` without httpx."""
        if host not in self._clients:
            self._clients[host] = self._resources.enter_context(
                client(self.url(host), has_slash="/" in host.chain.handlers)
            )
        return self._clients[host]

    # Blocks ---------------------------------------------------------------------------------------

    def submit(self, host: Host) -> None:
        """Submit a transaction. A VM that builds blocks by itself needs none.

        Raises `HookFailed`, or `Skipped` if there is no hook and the VM has no work, or if its
        mempool takes no more.
        """
        if self.hook is None:
            self._await_own_work(host)
            return
        if self._issue is None:
            self._issue = self.hook.load()
        connection = self.client(host)
        place = (host, host.chain.last_accepted.id)
        if place != self._place:
            self._place, self._waiting = place, 0
        try:
            self._issue(connection)
        except Exception as error:
            exit_code = host.process.wait(0.5)
            if exit_code is not None:
                raise PluginGone(f"a request of the hook {self.hook.name}", exit_code) from None
            # On a shared chain, transactions of an earlier check may fill the mempool.
            if self._waiting and not self.is_shared and _is_refusal(error):
                raise Skipped(
                    f"the mempool takes no more than {self._waiting} of the hook's transactions at once: "
                    f"{str(error) or type(error).__name__}"
                ) from error
            if isinstance(error, HookFailed):
                raise
            raise HookFailed(
                f"issue(client) of the hook {self.hook.name} raised {type(error).__name__}: {error}"
            ) from error
        self._waiting += 1

    def _await_own_work(self, host: Host) -> None:
        if self._traits.builds_by_itself is False:
            raise Skipped(NO_WORK)
        event = host.chain.next_event(_OWN_WORK_TIMEOUT_S)
        if event is Event.BUILD_BLOCK:
            self._traits.builds_by_itself = True
            host.services.events.offer(event)
        elif self._traits.builds_by_itself is None:
            self._check_running(host)
            self._traits.builds_by_itself = False
            raise Skipped(NO_WORK)

    def await_work(self, host: Host) -> None:
        """Wait until the VM reports that it has work. Raises `Violation` if it does not."""
        deadline = time.monotonic() + EVENT_TIMEOUT_S
        while True:
            rest = deadline - time.monotonic()
            event = host.chain.next_event(max(0.0, min(rest, ASK_AGAIN_S)))
            if event is Event.BUILD_BLOCK:
                return
            self._check_running(host)
            if rest <= 0:
                raise Violation(
                    "the VM reports no work although it was given a transaction",
                    sent="WaitForEvent" if host.config.protocol.waits_for_events else "a transaction",
                    got=f"no event for {EVENT_TIMEOUT_S:.0f} s",
                    node="it never builds a block",
                    cure="return BUILD_BLOCK from WaitForEvent (before protocol 42: call Notify) while there "
                    "is work",
                )
            if event is None:
                host.chain.ask_again()  # A VM may have returned an earlier event for this work.

    def build(self, host: Host) -> Block:
        """Submit a transaction, and build a block with `build_next`."""
        self.submit(host)
        return self.build_next(host)

    def propose(self, host: Host) -> Block:
        """Submit a transaction, then build, verify and prefer a block."""
        block = self.build(host)
        host.chain.verify(block)
        host.chain.prefer(block.id)
        return block

    def build_next(self, host: Host, timeout_s: float = EVENT_TIMEOUT_S) -> Block:
        """Wait until the VM reports work, and build a block.

        A VM may refuse for *timeout_s*, as some do within a second of the last block.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.await_work(host)
            try:
                return host.chain.build_block()
            except InvalidResponse:
                raise
            except CallFailed:
                if time.monotonic() > deadline:
                    raise

    def grow(self, host: Host, count: int) -> list[Block]:
        """Submit a transaction, and build, verify, prefer and accept a block, *count* times."""
        blocks = []
        for _ in range(count):
            blocks.append(self.build(host))
            accept(host, blocks[-1])
        return blocks

    def first_blocks(self, count: int) -> list[Block]:
        """Return the blocks at heights 1 to *count* of a chain, which grows if need be."""
        blocks = []
        with self.chain() as host:
            self.grow(host, max(0, count - host.chain.last_accepted.height))
            for height in range(1, count + 1):
                block_id = host.chain.get_block_id_at_height(height)
                block = None if block_id is None else host.chain.get_block(block_id)
                if block is None:
                    raise Skipped("the VM does not find its blocks by height: see the checks of heights")
                blocks.append(block)
        return blocks

    def siblings(self, host: Host) -> tuple[Block, Block]:
        """Build and verify two blocks on the preferred one.

        Raises `Skipped` if the VM builds only one, or the same one again.
        """
        parent = host.chain.preference
        first = self.propose(host)
        host.chain.prefer(parent)
        for _ in range(_SIBLING_ATTEMPTS):
            second = self.build_another(host, "the VM builds no second block on the same parent")
            if second.id != first.id:
                host.chain.verify(second)
                # Until SetPreference is called, a VM may build on the block verified last.
                host.chain.prefer(second.id)
                host.chain.prefer(parent)
                return first, second
        raise Skipped("the VM builds the same block again on the same parent")

    def build_another(self, host: Host, reason: str) -> Block:
        """Like `build`, of a VM that has built a block and need not build another: raises `Skipped`
        for this *reason* if it does not.
        """
        try:
            return self.build(host)
        except InvalidResponse:
            raise
        except (CallFailed, Violation):
            raise Skipped(reason) from None

    # Calls ----------------------------------------------------------------------------------------

    def alive(self, host: Host) -> None:
        """Raise `Violation` or `PluginGone` unless Health and Version return. The VM may be
        unhealthy.
        """
        for method in ("Health", "Version"):
            with must_succeed(
                f"the plugin no longer responds to {method}",
                sent=f"{method} with a deadline of {_ALIVE_TIMEOUT_S:.0f} s",
                node="it reports the chain as unhealthy, or waits forever",
                cure="a bad request must not block or end the server",
            ):
                attempt(host, method, Empty(), _ALIVE_TIMEOUT_S)

    def _check_running(self, host: Host) -> None:
        if host.chain.engine.fault is not None:
            raise host.chain.engine.fault
        if not host.process.alive:
            raise PluginGone(None, host.process.exit_code)


def _is_refusal(error: Exception) -> bool:
    """Whether an error of a hook means that the chain has refused the transaction."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):  # of `response.raise_for_status()`
        return not is_server_error(error.response.status_code)
    return isinstance(error, (Refused, AssertionError))
