"""One run of the VM's process, from the import of its code to its exit."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from vmsdk import protocol
from vmsdk.cli.dev import Settings
from vmsdk.cli.dev.datadir import DataDirectory, file_name
from vmsdk.cli.dev.http import ChainHTTP, example_calls, path_to_open
from vmsdk.cli.dev.launch import Starter
from vmsdk.cli.dev.screen import Screen
from vmsdk.errors import VMError
from vmsdk.host.block import Block
from vmsdk.host.chain import Chain
from vmsdk.host.client import DEATH_NOTICE_S
from vmsdk.host.control import Control
from vmsdk.host.errors import (
    ChainFatal,
    EndedBeforeHandshake,
    HandshakeFailed,
    HostError,
    PluginGone,
    ProtocolMismatch,
    ending,
)
from vmsdk.host.http import RouteRefused
from vmsdk.host.node import Host
from vmsdk.host.shadow import Shadow
from vmsdk.ids import ID, vm_id
from vmsdk.target import SourceTarget

# A node allows 5 s, but a developer's machine may be slow or busy.
SOURCE_HANDSHAKE_TIMEOUT_S = 60.0
EXECUTABLE_HANDSHAKE_TIMEOUT_S = 30.0
_LAST_LINES = 10


class Life:
    """Starts the VM, has it build blocks, and stops it, on its own thread.

    Then calls *on_end* on that thread, with why the VM ended, or None after `stop`. Removes the
    stored chain first if *reset* is true.
    """

    def __init__(
        self,
        settings: Settings,
        http: ChainHTTP,
        screen: Screen,
        *,
        control: Control,
        clock: Path,
        reset: bool,
        on_end: Callable[[str | None], None],
    ) -> None:
        self._settings = settings
        self._http = http
        self._screen = screen
        self._control = control
        self._clock = clock
        self._reset = reset
        self._on_end = on_end
        self._starter = Starter(
            settings.target,
            protocol=settings.protocol,
            log_level=settings.log_level,
            reload=settings.reload,
            clock=clock,
            debug=settings.debug,
        )
        self._host: Host | None = None
        self._shadow: Shadow | None = None
        self._host_lock = threading.Lock()
        self._stopping = threading.Event()
        self._killed = threading.Event()
        self._over = threading.Event()
        """Set by `stop`, or after a fault."""
        self._fault: ChainFatal | None = None
        self._bug: Exception | None = None
        self._last_failure = self._last_health_error = ""
        self._thread = threading.Thread(target=self._live, name="vm-life", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to stop the VM as a node does; return at once."""
        self._stopping.set()
        self._over.set()
        self._starter.cancel()

    def kill(self) -> None:
        """Kill the process; return at once."""
        self._killed.set()
        self.stop()
        with self._host_lock:
            if self._host is not None:
                self._host.process.send_signal(signal.SIGKILL)

    # On the thread --------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            with closing(self._starter):
                reason = self._run()
        except VMError as error:
            reason = self._explain(error)
        except Exception as error:  # noqa: BLE001 - reported, with its traceback
            self._screen.error(traceback.format_exc().rstrip())
            reason = f"a bug in vmsdk: {type(error).__name__}: {error}"
        self._on_end(None if self._stopping.is_set() else reason)

    def _run(self) -> str | None:
        name = self._starter.name(self._screen.vm_line)
        with closing(DataDirectory(self._settings.data_dir, name)) as data:
            if self._reset:
                data.reset()
            genesis = data.open(self._settings.genesis)
            self._control.restore(data.database, data.files)
            host = self._make_host(name, data, genesis)
            if self._stopping.is_set():
                return None
            try:
                host.connect()
                self._control.prepare(host)
                host.chain.start()
                data.keep(genesis)
                refused = self._http.open(host.chain)
                if not self._settings.alone:
                    self._shadow = Shadow(
                        host,
                        self._starter.shadow_command,
                        report=self._screen.warning,
                        log=self._screen.shadow_line,
                        folder=self._clock.parent,
                    )
                host.chain.on_accepted = self._accepted
                self._control.begin(host, self._build_failed, self._builder_failed, self._health_checked)
                # Last, as whoever reads the URL may use `/ext/dev` at once.
                self._announce(name, data, host.chain, refused)
                self._over.wait()
                return None if self._stopping.is_set() else self._what_ended(host)
            finally:
                self._http.pause()
                self._control.end()
                if self._shadow is not None:
                    self._shadow.stop()
                if self._killed.is_set():
                    host.kill()  # there is nothing left to shut down
                else:
                    host.stop()
                self._control.join()
                self._http.close()

    def _make_host(self, name: str, data: DataDirectory, genesis: bytes) -> Host:
        settings = self._settings
        host = Host(
            self._starter.command,
            protocol=settings.protocol,
            genesis=genesis,
            config=settings.config,
            upgrade=settings.upgrade,
            database=data.database,
            chain_data_dir=data.files.absolute(),
            chain_id=ID.of(b"vmsdk dev: " + name.encode()),
            vm_id=vm_id(name),
            alias=file_name(name),
            log=self._screen.vm_line,
            on_fault=self._on_fault,
            on_broken_rule=lambda text: self._screen.warning(f"a network would not accept this: {text}"),
            # A debugger may stop the VM for any time.
            call_timeout_s=None,
            handshake_timeout_s=(
                SOURCE_HANDSHAKE_TIMEOUT_S
                if isinstance(settings.target, SourceTarget)
                else EXECUTABLE_HANDSHAKE_TIMEOUT_S
            ),
            patient=False,
        )
        # A node would only notice at its next call.
        host.process.at_exit(lambda exit_code: self._over.set())
        with self._host_lock:
            self._host = host
        return host

    def _on_fault(self, fault: ChainFatal) -> None:
        self._fault = fault
        self._over.set()

    def _accepted(self, block: Block) -> None:
        self._screen.block(block)
        assert self._host is not None, "the chain has not been started"
        chain = self._host.chain
        if chain.strict is not None and self._http.streams(chain):
            chain.strict.heard()  # requests by WebSocket are not seen here
        if self._shadow is not None:
            self._shadow.block(block)

    def _build_failed(self, error: HostError) -> None:
        # A VM that keeps trying would fill the screen with the same line.
        text = f"no block: {error}"
        if text != self._last_failure:
            self._screen.warning(text)
        self._last_failure = text

    def _health_checked(self, error: HostError | None) -> None:
        text = "" if error is None else f"unhealthy: {error}"
        if text and text != self._last_health_error:
            self._screen.warning(text)
        self._last_health_error = text

    def _builder_failed(self, error: Exception) -> None:
        self._bug = error
        self._over.set()

    def _announce(
        self, name: str, data: DataDirectory, chain: Chain, refused: Sequence[RouteRefused]
    ) -> None:
        if self._stopping.is_set():
            return
        for each in refused:
            self._screen.warning(f"HTTP: {each}")
        prefixes = sorted(chain.handlers.keys() - {each.prefix for each in refused})
        url = self._http.url(chain)
        last = chain.last_accepted
        releases = ", ".join(protocol.protocol(self._settings.protocol).releases)
        facts = [("chain ID", str(chain.config.chain_id))]
        facts += [("URL", url + path_to_open(prefix)) for prefix in prefixes]
        facts += [
            ("last block", f"{last.height}  {last.id}"),
            ("data", str(data.path)),
            ("protocol", f"{self._settings.protocol} ({releases})"),
        ]
        if chain.handlers_error is not None:
            hint = f"no HTTP, because {chain.handlers_error}; the VM's log above has the traceback"
        elif chain.handlers:
            hint = example_calls(url, prefixes)
        else:
            hint = "the VM has no HTTP handlers: create_handlers returned none"
        self._screen.facts(f"{name} {chain.version()}".rstrip(), facts, hint)

    # Reasons --------------------------------------------------------------------------------------

    def _what_ended(self, host: Host) -> str:
        """Return why the chain ended, or raise the error that kept vmsdk from building blocks."""
        if (self._fault or self._bug) and host.process.wait(DEATH_NOTICE_S) is None:
            if self._fault is not None:
                return self._explain(self._fault)
            if self._bug is not None:
                raise self._bug
        return self._died("the VM died")

    def _explain(self, error: VMError) -> str:
        if isinstance(error, ProtocolMismatch):
            return (
                f"handshake failed: {error.reason}\n"
                f"--protocol {error.plugin} runs it like a node of that version"
            )
        if isinstance(error, EndedBeforeHandshake):
            return self._died("the VM ended before the handshake")
        if isinstance(error, HandshakeFailed):
            return f"handshake failed: {error.reason}: the VM was too late (does it call vmsdk.serve?)"
        if isinstance(error, PluginGone) or (
            isinstance(error, ChainFatal) and isinstance(error.cause, PluginGone)
        ):
            return self._died("the VM died")
        return str(error)

    def _died(self, what: str) -> str:
        assert self._host is not None, "the process has not been started"
        process = self._host.process
        process.stop()  # reads the rest of its output
        lines = list(process.output)[-_LAST_LINES:]
        text = f"{what}{ending(process.exit_code)}"
        return text + ("; its last output:" + "".join(f"\n  {line}" for line in lines) if lines else "")
