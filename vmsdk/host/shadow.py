"""A second process of a VM, which gets each accepted block and each message like a peer.

A VM must reach the same state on every node. The shadow runs with another hash seed, time zone and
locale, and a little later, so a VM that depends on any of these reaches a different state. It also
restarts now and then, which reveals a VM that depends on what a restart loses.
"""

from __future__ import annotations

import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import grpc

from vmsdk.chain.replica import DELAY_S, LOCALE, TIME_ZONE
from vmsdk.host.appnetwork import AppNetwork, Relay
from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, ChainFatal, HostError, PluginGone, StartFailed
from vmsdk.host.identity import NodeIdentity
from vmsdk.host.node import Host
from vmsdk.host.plugin import Log, with_variables
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.ids import NodeID

NODE_ID = NodeID(b"the VM's shadow".ljust(20, b"."))

MAX_WAITING_BLOCKS = 1_024
"""If more blocks are waiting, the VM waits for its shadow, once the shadow has started."""

BLOCK_TIMEOUT_S = 60.0
"""A call of the shadow that takes longer is reported: it may hang there and not in the VM."""

# Writes outside of blocks, such as pruning, happen at other times in the shadow. So a difference
# counts only if it persists for this many blocks, and then for some seconds in which the shadow
# gets no blocks (while they come fast, it has no time to prune); or after a pause.
PATIENCE_BLOCKS = 2
PATIENCE_S = 10.0
PAUSE_S = 2.0
POLL_S = 0.05

MAX_COMPARED_PAIRS = 100_000
"""Larger databases are not compared as a whole when the shadow starts."""
MAX_SHOWN_KEYS = 3
MAX_SHOWN_BYTES = 48
_WATCHDOG = "vmsdk.watchdog"

Values = dict[bytes, "bytes | None"]


class Suspect(NamedTuple):
    """When the values of a key began to differ."""

    block: Block | None
    followed: int
    """How many blocks the shadow had accepted by then."""


class Shadow:
    """The shadow of *host*, whose chain has started. If the two differ, *report* gets a text, once.

    *command* starts a VM in Python under another hash seed than the host's. *log* gets its output.
    Its temporary files are in *folder*, or in the system's. The two are peers. Call `block` with
    each block accepted from then on, on the engine's thread, and `stop` before the host stops.
    """

    def __init__(
        self,
        host: Host,
        command: Sequence[str],
        *,
        report: Callable[[str], None],
        log: Log | None = None,
        delay_s: float = DELAY_S,
        folder: Path | None = None,
    ) -> None:
        self._main_host = host
        self._report = report
        self._delay_s = delay_s
        # Unbounded until the two are connected: for that the shadow needs the engine's lock, which
        # an engine that waits here would hold.
        self._blocks: queue.Queue[tuple[float, Block, Values]] = queue.Queue()
        self._stopping = threading.Event()
        self._main = host.services.database.space
        self._resources = ExitStack()
        temporary = TemporaryDirectory(prefix="vmsdk-shadow-", dir=folder)
        self._files = Path(self._resources.enter_context(temporary)) / "files"
        self._disk = self._resources.enter_context(SQLiteDatabase())
        if host.chain.last_accepted.height > 0:
            host.services.disk.copy_to(self._disk)
            if host.config.chain_data_dir is not None:
                shutil.copytree(host.config.chain_data_dir, self._files, ignore_dangling_symlinks=True)
        self._changes = self._main.record()
        self._has_followed = False
        self._command = command
        self._log = log
        self._hang = ""
        """Where the VM hangs, according to its watchdog."""
        self._restarted_after: Block | None = None
        self._host = self._make_host()
        self._suspects: dict[bytes, Suspect] = {}
        self._followed = 0
        self._expected: Values = {}
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def _make_host(self) -> Host:
        config = self._main_host.config
        variables = (f"TZ={TIME_ZONE}", f"LC_ALL={LOCALE}", f"LANG={LOCALE}")
        return Host(
            with_variables(self._command, *variables),
            protocol=config.protocol.version,
            database=self._disk,
            chain_data_dir=self._files,
            call_timeout_s=None,
            handshake_timeout_s=self._main_host.handshake_timeout_s,
            patient=False,
            log=self._line,
            identity=NodeIdentity(NODE_ID),
            **{
                name: getattr(config, name)
                for name in ("genesis", "config", "upgrade", "chain_id", "vm_id", "alias")
            },
        )

    def _line(self, stream: str, line: str) -> None:
        _, of_watchdog, text = line.partition(_WATCHDOG)
        if of_watchdog:
            self._hang = text.lstrip(": ")
        if self._log is not None:
            self._log(stream, line)

    def block(self, block: Block) -> None:
        """Record what an accepted block has changed, to compare it with the shadow."""
        if not self._stopping.is_set():
            self._has_followed = True
            changed = {key: now for key, (_, now) in self._changes.take().items()}
            self._blocks.put((time.monotonic() + self._delay_s, block, changed))

    def stop(self) -> None:
        """Kill the shadow's process at once, without comparing what waits."""
        self._stopping.set()
        self._close_network()
        while self._thread.is_alive():
            self._host.process.kill()  # Each time, since a new process may just be starting.
            self._empty()
            self._thread.join(0.05)

    def _close_network(self) -> None:
        """Deliver no message to a process that is about to exit."""
        with suppress(HostError):
            self._host.services.network.close()

    def _empty(self) -> None:
        """Release an engine that waits for the shadow."""
        try:
            while True:
                self._blocks.get_nowait()
        except queue.Empty:
            return

    # On the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        text = early_end = None
        try:
            text = self._follow()
        except HostError as error:
            text = f"the shadow, a second process of the VM, has exited: {error}"
            early_end = error.exit_code if isinstance(error, StartFailed) else None
        finally:
            was_stopping = self._stopping.is_set()
            self._stopping.set()
            self._changes.stop()
            self._empty()
            self._close_network()
            self._host.kill()
            self._resources.close()
            if not was_stopping:
                with suppress(HostError):
                    self._main_host.chain.disconnect(NODE_ID)
        # Ctrl-C also reaches the shadow, and kills it if it is just starting.
        is_interrupted = -signal.SIGINT in (early_end, self._host.process.exit_code)
        if text is not None and not was_stopping and not is_interrupted:
            self._report(text)

    def _follow(self) -> str | None:
        """Follow the chain. Returns the first difference, or None if stopped."""
        if self._stopping.is_set():
            return None
        self._host.start()
        self._host.client.timeout_s = BLOCK_TIMEOUT_S
        self._connect_main()
        with suppress(HostError):  # The VM itself may be exiting.
            main_id = self._main_host.config.identity.node_id
            self._main_host.chain.connect(Relay(NODE_ID, main_id, self._network))
        self._blocks.maxsize = MAX_WAITING_BLOCKS
        own = self._host.services.database.space
        if own.count() <= MAX_COMPARED_PAIRS:
            mine, theirs = dict(self._main.items()), dict(own.items())
            # Newer changes may belong to a block that is yet to come here.
            keys = (mine.keys() | theirs.keys()) - self._changes.keys()
            if not self._has_followed:
                self._compare(None, {key: mine.get(key) for key in keys}, theirs)
        recording = own.record(before=True)
        while not self._stopping.is_set():
            try:
                due, block, changed = self._blocks.get(timeout=PAUSE_S)
            except queue.Empty:
                self._check_running()
                lasting = self._lasting(list(self._suspects))
                if lasting:
                    return self._difference(lasting)
                continue
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return None
            self._check_running()
            try:
                parsed = self._host.chain.parse_block(block.raw)
                self._host.chain.verify(parsed)
                self._host.chain.accept(parsed)
            except HostError as error:
                return self._failure(block, error)
            self._followed += 1
            # A write in between would be compared now, but recorded for the next block.
            with self._disk.transaction():
                written = recording.take()
                # What only the shadow has written should be unchanged, unless it differed before.
                before = {key: old for key, (old, _) in written.items() if key not in self._suspects}
                self._compare(block, {**before, **changed}, {key: now for key, (_, now) in written.items()})
            lasting = self._outlasting()
            if lasting:
                return self._difference(lasting)
            if self._followed & (self._followed - 1) == 0:  # after block 1, 2, 4, 8, …
                self._restart(block)
                recording = self._host.services.database.space.record(before=True)
        return None

    def _check_running(self) -> None:
        """Raise `HostError` if something other than a block has stopped the shadow or its chain."""
        if self._host.chain.engine.fault is not None:  # a message
            raise self._host.chain.engine.fault
        if not self._host.process.alive:
            raise PluginGone(exit_code=self._host.process.exit_code)

    def _failure(self, block: Block, error: HostError) -> str:
        """Describe what *block* did to the shadow. Raises *error* if a peer's message did it."""
        cause = error.cause if isinstance(error, ChainFatal) else error
        if isinstance(cause, CallFailed) and cause.method.startswith(("App", "CrossChainApp")):
            raise error
        if isinstance(cause, CallFailed) and cause.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            where = self._hang and f" ({self._hang})"
            what, why = "hangs in", f"{cause.method} has not returned within {BLOCK_TIMEOUT_S:.0f} s{where}"
        elif isinstance(error, CallFailed):
            what, why = "is refused by", str(error)
        else:
            what, why = "stops", str(error)
        return (
            f"block {block.height}, {block.id}, {what} the VM's shadow, {self._described}: {why}. "
            "Other nodes would disagree, too"
        )

    def _restart(self, block: Block) -> None:
        """Kill the shadow, as in a crash, and start it again with its database and files."""
        self._close_network()
        self._host.kill()
        self._restarted_after = block
        self._host = self._make_host()
        if self._stopping.is_set():
            return
        try:
            self._host.start()
        except HostError as error:
            raise HostError(
                f"restarted after block {block.height}, it does not start again: {error}"
            ) from None
        self._host.client.timeout_s = BLOCK_TIMEOUT_S
        self._connect_main()

    def _connect_main(self) -> None:
        """Connect the VM to its shadow as a peer."""
        main = self._main_host
        self._host.chain.connect(Relay(main.config.identity.node_id, NODE_ID, lambda: main.services.network))

    def _network(self) -> AppNetwork | None:
        """The shadow's network; None while it restarts."""
        with suppress(HostError):
            return self._host.services.network
        return None

    @property
    def _described(self) -> str:
        restarted = self._restarted_after
        when = "" if restarted is None else f", restarted after block {restarted.height}"
        return f"a second process under another hash seed, time zone and locale{when}"

    def _compare(self, block: Block | None, expected: Values, known: Mapping[bytes, bytes | None]) -> None:
        """Compare the shadow's values, some of which are *known*, with those *expected*."""
        own = self._host.services.database.space
        self._expected.update(expected)
        for key in expected.keys() | self._suspects.keys():
            if (known[key] if key in known else own.get(key)) == self._expected.get(key):
                self._suspects.pop(key, None)
            else:
                self._suspects.setdefault(key, Suspect(block, self._followed))
        self._expected = {key: self._expected[key] for key in self._suspects if key in self._expected}

    def _outlasting(self) -> list[bytes]:
        """Return the keys that have differed for some blocks, and still do after some idle time."""
        latest = self._followed - PATIENCE_BLOCKS
        keys = [key for key, since in self._suspects.items() if since.followed <= latest]
        deadline = time.monotonic() + PATIENCE_S
        while keys := self._lasting(keys):
            if time.monotonic() >= deadline or self._stopping.wait(POLL_S):
                break
        return keys

    def _lasting(self, keys: list[bytes]) -> list[bytes]:
        """Return those of *keys* that still differ, also from what the VM has written since."""
        own = self._host.services.database.space
        lasting = []
        for key in keys:
            value = own.get(key)
            if value != self._expected.get(key) and value != self._main.get(key):
                lasting.append(key)
        return lasting

    def _difference(self, keys: list[bytes]) -> str:
        own = self._host.services.database.space
        block = self._suspects[keys[0]].block
        keys = sorted(key for key in keys if self._suspects[key].block is block)
        shown = "; ".join(
            f"key {_shown(key)} is {_shown(self._expected.get(key))} here, {_shown(own.get(key))} there"
            for key in keys[:MAX_SHOWN_KEYS]
        )
        more = f"; and {len(keys) - MAX_SHOWN_KEYS} more keys" if len(keys) > MAX_SHOWN_KEYS else ""
        where = "the start" if block is None else f"block {block.height}, {block.id},"
        return (
            f"after {where} the database differs from that of the VM's shadow, {self._described}: "
            f"{shown}{more}. Other nodes would disagree, too: look for clocks, randomness, sets, hash(), "
            "id(), floats, the locale, and state that is kept on self only"
        )


def _shown(value: bytes | None) -> str:
    if value is None:
        return "missing"
    return "0x" + value[:MAX_SHOWN_BYTES].hex() + ("…" if len(value) > MAX_SHOWN_BYTES else "")
