"""A VM in this process, behind the interface of a plugin process.

The host and the servicers are those of a real plugin. Only the channels differ: a call goes
directly to the method that serves it, on the caller's thread, without gRPC or a socket. So
breakpoints and coverage work, and a chain starts in milliseconds.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, ClassVar, NamedTuple, NoReturn

import grpc

from vmsdk.address import Addresses
from vmsdk.host.client import VMClient
from vmsdk.host.node import Host
from vmsdk.host.plugin import Log, PluginProcess
from vmsdk.host.service import LoopbackServer, NodeService
from vmsdk.host.services import NodeServices
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.protocol import protocol
from vmsdk.rpc.server import VMServer
from vmsdk.services.channel import CLOSED, CallFailed
from vmsdk.vm import ChainVM

_KILLED = -9


class _Details(NamedTuple):
    """The argument by which a generic handler finds a method."""

    method: str
    invocation_metadata: tuple[()] = ()


class _Context:
    """A call as the method that serves it sees it."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] | None = []
        self._lock = threading.Lock()

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise CallFailed(code, details)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def end(self) -> None:
        """Call the callbacks: the call has ended or was cancelled. Idempotent."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()


class LocalServer:
    """A gRPC server without a network: it finds the methods that local channels call."""

    def __init__(self) -> None:
        self._handlers: list[Any] = []
        self._methods: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Add *handlers*. The first one that has a method serves it."""
        self._handlers.extend(handlers)

    def start(self) -> None:
        """Do nothing: channels call at any time."""

    def stop(self, grace_s: float | None = None) -> threading.Event:
        """Do nothing: the channels are closed instead."""
        stopped = threading.Event()
        stopped.set()
        return stopped

    def find(self, path: str) -> Any:
        """Return the function that serves *path*. Raises `CallFailed` if there is none."""
        if path not in self._methods:
            details = _Details(path)
            found = (handler.service(details) for handler in self._handlers)
            method = next((each for each in found if each is not None), None)
            if method is None:
                raise CallFailed(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            self._methods[path] = method.unary_unary
        return self._methods[path]


class LocalChannel:
    """A channel to *server*. A call runs on the caller's thread.

    Calls that are started with `future` run on their own thread if the server's methods may wait,
    otherwise also on the caller's.
    """

    def __init__(self, server: LocalServer, *, may_wait: bool) -> None:
        self._server = server
        self._may_wait = may_wait
        self._closed = False
        self._running: set[_Context] = set()
        self._lock = threading.Lock()

    def unary_unary(self, path: str, *_serializers: Any, **_options: Any) -> _LocalCall:
        """Return a callable for the method at *path*."""
        return _LocalCall(self, path)

    def close(self) -> None:
        """Cancel the running calls, and refuse later ones. Idempotent."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for context in running:
            context.end()

    def _run(self, path: str, request: Any, context: _Context) -> Any:
        with self._lock:
            if self._closed:
                raise ValueError(CLOSED)
            self._running.add(context)
        try:
            return self._server.find(path)(request, context)
        finally:
            with self._lock:
                self._running.discard(context)
                closed = self._closed
            context.end()
            if closed:  # It replaces the result, which comes too late.
                raise ValueError(CLOSED)


class _LocalCall:
    def __init__(self, channel: LocalChannel, path: str) -> None:
        self._channel = channel
        self._path = path

    def __call__(self, request: Any, timeout: float | None = None, **_options: Any) -> Any:
        return self._channel._run(self._path, request, _Context())

    def future(self, request: Any, timeout: float | None = None, **_options: Any) -> _LocalFuture:
        if self._channel._closed:
            raise ValueError(CLOSED)
        context = _Context()
        future = _LocalFuture(context)

        def run() -> None:
            try:
                future.done.set_result(self._channel._run(self._path, request, context))
            except ValueError:
                future.done.set_exception(CallFailed(grpc.StatusCode.CANCELLED, CLOSED))
            except BaseException as error:  # noqa: BLE001 - raised by result()
                future.done.set_exception(error)

        if self._channel._may_wait:
            threading.Thread(target=run, name="local-call", daemon=True).start()
        else:
            run()
        return future


class _LocalFuture:
    """A running call, used like `vmsdk.services.channel.UnaryCall`."""

    def __init__(self, context: _Context) -> None:
        self.done: Future[Any] = Future()
        self._context = context
        self._cancelled = False

    def result(self, timeout: float | None = None) -> Any:
        result = self.done.result(timeout) if not self._cancelled else None
        if self._cancelled:
            raise grpc.FutureCancelledError
        return result

    def read(self) -> None:
        pass  # It holds no connection.

    def cancel(self) -> bool:
        self._cancelled = True
        self._context.end()
        return True


class LocalNodeServer(LoopbackServer):
    """The node's services without a server. `connect` finds them by their address."""

    _numbers = itertools.count(1)
    _open: ClassVar[dict[str, LocalServer]] = {}

    def __init__(self, *services: NodeService, health_service: bool) -> None:
        self.address = f"in-process:{next(self._numbers)}"
        server = LocalServer()
        server.add_generic_rpc_handlers([service.rpc_handler() for service in services])
        self._open[self.address] = server

    @classmethod
    def connect(cls, address: str) -> Any:
        """Return a channel to the server at *address*. Raises `ValueError` if there is none."""
        server = cls._open.get(address)
        if server is None:
            raise ValueError(f"no server in this process has the address {address!r}")
        return LocalChannel(server, may_wait=False)

    def start(self) -> None:
        """Do nothing: channels call at any time."""

    def stop(self, grace_s: float | None = None) -> None:
        """Accept no further channels. Idempotent."""
        self._open.pop(self.address, None)


class LocalProcess(PluginProcess):
    """Replaces the process of a plugin by a VM in this one, which *make_vm* makes."""

    def __init__(self, make_vm: Callable[[], ChainVM], version: int, log: Log | None) -> None:
        super().__init__(["in-process"], protocol=version, log=log)
        self._make_vm = make_vm
        self._life = threading.Lock()
        self.vm: ChainVM | None = None
        """The VM; set by `start`."""
        self._server: VMServer | None = None
        self.channel: Any = None
        """The node's channel to the VM; set by `start`."""

    def start(self) -> str:
        """Make the VM and its server."""
        self.vm = self._make_vm()
        server = LocalServer()
        log = logging.Logger(str(self.vm.name), logging.INFO)
        log.addHandler(_Lines(lambda line: self._show("stderr", line)))
        any_server: Any = server
        addresses = Addresses("tcp")
        self._server = VMServer(self.vm, protocol(self.protocol), any_server, addresses=addresses, log=log)
        self._server.session.connect = LocalNodeServer.connect
        self.channel = LocalChannel(server, may_wait=True)
        self.address = "in-process"
        self.handshake_s = 0.0
        return self.address

    @property
    def alive(self) -> bool:
        return self._server is not None and not self._exited.is_set()

    def _end(self, exit_code: int) -> None:
        with self._signal_lock:
            if self._exited.is_set():
                return
            self.exit_code = exit_code
            actions = list(self._at_exit)
            self._exited.set()
        for action in actions:
            action(exit_code)

    def kill(self) -> int | None:
        """Cut the VM off from its node, so that nothing it still does has an effect."""
        if self._server is not None:
            self._server.session.log.disabled = True
            self._server.session.cut_off()
            self._end(_KILLED)
        return self.exit_code

    def send_signal(self, number: int) -> bool:
        """Kill the VM, whatever *number* is. Returns False if it has ended."""
        was_alive = self.alive
        self.kill()
        return was_alive

    def stop(self) -> int | None:
        """Stop the VM's threads and HTTP servers. Idempotent."""
        if self._server is None:
            return None
        with self._life:
            killed = self._exited.is_set()
            try:
                self._server.stop(0)
                self._server.session.shutdown()
            except Exception:
                if not killed:
                    raise
            self._server.session.disconnect()
        self._end(0)
        return self.exit_code


class LocalHost(Host):
    """A node whose VM runs in this process. *make_vm* makes the VM; the rest is as for `Host`."""

    def __init__(self, make_vm: Callable[[], ChainVM], *, log: Log | None = None, **options: Any) -> None:
        super().__init__(["in-process"], log=log, **options)
        self.process: LocalProcess = LocalProcess(make_vm, self.config.protocol.version, log)

    def _make_services(self, disk: SQLiteDatabase) -> NodeServices:
        return NodeServices(self.config, disk=disk, server=LocalNodeServer)

    def _connect(self) -> VMClient:
        address = self.process.start()
        return VMClient(address, channel=self.process.channel, wait=self.process.wait)


class _Lines(logging.Handler):
    """Calls *show* with each line of each record."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._show(line)
