"""The life of a plugin process: handshake, import of the author's code, service, exit."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from vmsdk.address import Addresses
from vmsdk.errors import VMError
from vmsdk.protocol import DEFAULT_PROTOCOL, NEWEST, OLDEST, protocol
from vmsdk.runtime import children, logs
from vmsdk.runtime.ending import Ending, Parent, Signals, harmless, shut_down_in_time
from vmsdk.runtime.logrecords import LogFormat
from vmsdk.runtime.nodeprocess import INSTALL_COMMAND, engine_address
from vmsdk.runtime.settings import Settings
from vmsdk.runtime.version import JSON_FLAG, TEXT_FLAG, VersionChoice

# gRPC is imported while the node prints its version, since both take about as long.
if TYPE_CHECKING:
    from vmsdk.address import Transport
    from vmsdk.rpc.server import VMServer
    from vmsdk.vm import ChainVM

# The status for wrong usage: running it again would not help.
USAGE_STATUS = 2

# A node kills a plugin 5 s after SIGTERM (its vms/rpcchainvm/runtime/subprocess). Before that, the
# plugin cancels its calls to the node, cancels the node's calls, and exits.
CUT_OFF_S = 1.5
GRACE_S = 3.0
LAST_RESORT_S = 4.0
# While Python exits, its threads don't run, and gRPC's core may wait for a thread that it could not
# start. Then SIGALRM ends the process.
ALARM_S = 4.5
# How long an import may still take after a signal to a process that prints its version.
VERSION_GRACE_S = 2.0


class Options(NamedTuple):
    """How to run as a plugin."""

    name: str
    """The VM's name until it is loaded."""
    protocol: int | None = None
    """The protocol version to speak; None for the node's."""
    ask_parent: bool = True
    """Whether to ask the node for its version."""
    log_level: int | str = logging.INFO
    log_format: LogFormat = "plain"
    install_command: str = INSTALL_COMMAND
    """The command that installs the VM, without the protocol version."""
    transport: Transport = "auto"
    """How the node reaches the VM: see `vmsdk.address`."""
    slow_call_s: float | None = None
    """When to report a call that is still running; None for the default."""


_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_log = logging.getLogger("vmsdk")
_is_started = False


def run(load: Callable[[], ChainVM], options: Options) -> None:
    """Run as a plugin that serves the VM that *load* returns.

    *load* is called after the handshake, so slow imports can't delay that. If it raises, the
    traceback is logged, and the node's calls return the error. See `vmsdk.serve` for the rest.
    Raises `VMError` if a plugin already runs in this process.
    """
    global _is_started  # noqa: PLW0603 - one process serves one chain, whoever starts it
    if _is_started:
        raise VMError(
            f"{_caller()}: vmsdk.serve() is called while it already runs, or while the VM's module is "
            'imported. Call it only in a script: if __name__ == "__main__": vmsdk.serve(...)'
        )
    _is_started = True
    pid, path = os.getpid(), list(sys.path)

    def load_here() -> ChainVM:
        try:
            return load()
        finally:
            if os.getpid() != pid:
                os._exit(0)  # a child that the import has forked: only the parent is a plugin
            # More modules are imported later, even if the author's code removed their path.
            sys.path = [*sys.path, *(each for each in path if each not in sys.path)]
            logs.reopen_descriptors()
            logs.enable_loggers()

    try:
        logs.open_streams(options.log_level, options.log_format)
        if sys.argv[1:] in ([TEXT_FLAG], [JSON_FLAG]):
            _print_version(sys.argv.pop(), load_here, options)  # the author's code gets no arguments
        else:
            _serve(load_here, options)
    finally:
        _is_started = False


def _caller() -> str:
    """Return the file and line that called vmsdk."""
    frame = sys._getframe()
    while frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def _print_version(flag: str, load: Callable[[], ChainVM], options: Options) -> NoReturn:
    """Print the VM's version as *flag* asks for, and exit."""
    try:
        _write_version(flag, load, options)
    except VMError as error:
        _exit_with_error(str(error))
    except Exception as error:  # noqa: BLE001 - the author's error, shown without our own frames
        from vmsdk.runtime.loading import authors_frames

        traceback.print_exception(type(error), error, authors_frames(error))
        sys.exit(1)
    # Threads, timers and exit handlers of the author's code must not change the outcome.
    for stream in sys.stdout, sys.stderr:
        with suppress(AttributeError, OSError, ValueError):  # replaced or closed by that code
            stream.flush()
    os._exit(0)


def _write_version(flag: str, load: Callable[[], ChainVM], options: Options) -> None:
    """Write the VM's version to stdout.

    The format and the names `application` and `rpcchainvm` are a node's, for tools that ask plugins
    for their protocol. Raises `UnsupportedProtocol`, and what *load* raises.
    """
    import json
    import platform

    # Before the author's code, as in a plugin.
    import vmsdk.rpc.server  # noqa: F401
    from vmsdk._version import __version__
    from vmsdk.rpc.watchdog import Watchdog

    chosen = protocol(DEFAULT_PROTOCOL if options.protocol is None else options.protocol)
    # stdout is for the version only; whatever else the process prints goes to stderr.
    stdout = os.dup(1)
    os.dup2(2, 1)
    # A signal must end an import that hangs, but not at once: the import may have sent it itself,
    # and a plugin ignores that.
    signals = Signals()
    threading.Thread(target=_exit_soon, args=(signals,), name="vmsdk-signals", daemon=True).start()
    children.manage(signals.release)
    watchdog = Watchdog(options.slow_call_s)
    watchdog.start()
    with watchdog.watch(f"the import of {options.name}"):
        vm = load()
    watchdog.stop()
    entries: dict[str, object] = {
        "rpcchainvm": chosen.version,
        "oldest": OLDEST,
        "newest": NEWEST,
        "vmsdk": __version__,
        "python": platform.python_version(),
    }
    application = f"{vm.name}/{vm.version}"
    if flag == JSON_FLAG:
        text = json.dumps({"application": application, "name": vm.name, **entries}, indent=2)
    else:
        text = f"{application} [{', '.join(f'{name}={value}' for name, value in entries.items())}]"
    os.write(stdout, f"{text}\n".encode("utf-8", "backslashreplace"))
    os.close(stdout)


def _exit_soon(signals: Signals) -> None:
    """Wait for a signal, and exit unless the version is printed soon after."""
    number = signals.wait()
    time.sleep(VERSION_GRACE_S)
    name = signal.Signals(number).name
    logs.write_line(f"ended by {name}: the import was still running {VERSION_GRACE_S:g} s later")
    os._exit(128 + number)  # as in a shell


def _serve(load: Callable[[], ChainVM], options: Options) -> None:
    parent, signals, settings = Parent(), Signals(), Settings(options.log_level, options.log_format)

    @harmless
    def every_second() -> None:
        settings.refresh()
        logs.enable_loggers(server.session.log.name)
        logs.report_repetitions()

    with ExitStack() as cleanup:
        cleanup.callback(parent.close)
        cleanup.callback(children.unmanage)
        try:
            addresses = Addresses(options.transport)
            cleanup.callback(addresses.close)
            children.manage(lambda: _release(signals, parent, addresses))
            with _start_without_collections():
                server = _connect(load, options, parent, signals, settings, addresses)
            ending = signals.wait_for_end(
                parent, lambda text: logs.write_line(f"runtime engine: {text}"), every_second
            )
        except VMError as error:
            signals.ignore()
            _exit_with_error(str(error))
        _end(server, ending, addresses)
    signals.ignore()


@contextmanager
def _start_without_collections() -> Iterator[None]:
    """Disable garbage collection, since imports create many objects and little garbage.

    Freezes these objects afterwards, which makes later collections shorter.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def _connect(
    load: Callable[[], ChainVM],
    options: Options,
    parent: Parent,
    signals: Signals,
    settings: Settings,
    addresses: Addresses,
) -> VMServer:
    """Bind, shake hands, load, serve.

    In this order, since the node may connect as soon as it has the address.
    """
    engine = engine_address(os.environ, options.name, options.install_command)
    choice = VersionChoice(options.protocol, engine=engine, ask=options.ask_parent)
    try:
        if choice.is_open:
            # Needed a moment later; the node prints its version meanwhile.
            import vmsdk.rpc.server
            import vmsdk.runtime.handshake  # noqa: F401
        chosen = choice.settle()
    finally:
        choice.close()
    from vmsdk.rpc.listener import bind
    from vmsdk.runtime.handshake import Handshake

    listener, address = bind(addresses)
    handshake = Handshake(
        engine, chosen, address, source=choice.source, install_command=options.install_command
    )
    # Imported while the node responds, since this takes as long as importing gRPC.
    from vmsdk.rpc.server import VMServer
    from vmsdk.rpc.watchdog import Watchdog
    from vmsdk.runtime import loading

    watchdog = Watchdog(options.slow_call_s)
    watchdog.start()
    handshake.wait()
    _log.info("protocol %d: %s", chosen.version, choice.source)
    with watchdog.watch(f"the import of {options.name}"):
        vm = loading.load(load, options.name, parent, lambda: _exit_now(addresses, 1))
    signals.catch()
    if isinstance(vm, loading.NotLoadedVM):
        signals.allow_shutdown()  # nothing is served, so SIGTERM may end the process
    server = VMServer(
        vm,
        chosen,
        listener,
        addresses=addresses,
        on_shutdown=signals.allow_shutdown,
        watchdog=watchdog,
        configure=settings.take,
    )
    settings.trace_to = server.session.trace_to
    server.start()
    addresses.remove_stale()
    return server


def _end(server: VMServer, ending: Ending, addresses: Addresses) -> None:
    session = server.session
    for kind in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
        signal.setitimer(kind, 0)  # the author's code may use it, and Python drops its handlers at exit
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, ALARM_S)
    for delay_s, action in ((CUT_OFF_S, session.cut_off), (LAST_RESORT_S, lambda: _exit_now(addresses, 0))):
        timer = threading.Timer(delay_s, action)
        timer.daemon = True
        timer.start()
    if ending is Ending.ORPHANED:
        session.log.error("%s: shutting the chain down", ending.value)
        if not shut_down_in_time(session.shutdown):
            session.log.error("the VM's shutdown() hangs: ending the process")
            _exit_now(addresses, 1)
    server.stop(0 if ending is Ending.ORPHANED else GRACE_S)
    session.trace_to(None, 1)
    logs.report_repetitions(all_of_them=True)
    children.report_commands()
    logs.write_line("vm server: graceful termination success")


def _release(signals: Signals, parent: Parent, addresses: Addresses) -> None:
    """Make a forked child an ordinary process, without the plugin's signals and sockets."""
    signals.release()
    parent.close()
    addresses.close()
    logs.forget_streams()


def _exit_now(addresses: Addresses, status: int) -> None:
    """End the process and its multiprocessing children without waiting for any thread.

    Logs the threads and children for which Python would wait.
    """
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            _log.warning("the VM's thread %s is still running: the process exits without it", thread.name)
    multiprocessing = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing is not None else ():
        if not child.daemon:
            _log.warning("the VM's process %s (%d) is still running: it is killed", child.name, child.pid)
        child.kill()
    addresses.close()
    os._exit(status)


def _exit_with_error(message: str) -> NoReturn:
    print(f"vmsdk: {message}", file=sys.stderr, flush=True)
    sys.exit(USAGE_STATUS)
