"""Version, Initialize, SetState, Shutdown: a chain's life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import UpgradesRefused
from vmsdk.interface import must_not_be_frozen
from vmsdk.rpc.conversion import InvalidRequest, call, last_accepted_fields, unusable
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.events import Notifier
from vmsdk.rpc.session import Session
from vmsdk.services.node import NodeConnection
from vmsdk.state import State

Configure: TypeAlias = Callable[[bytes, Path], bytes]
"""Makes the VM's config of a chain's config, as the node sends it, and its data directory."""


class Lifecycle:
    """Starts the chain, changes its state, and ends it."""

    def __init__(self, session: Session, on_shutdown: Callable[[], None], configure: Configure) -> None:
        self._session = session
        self._on_shutdown = on_shutdown
        self._configure = configure

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.free(VM.Version, self.version)
        yield dispatch.free(VM.Initialize, self.initialize, expected=(UpgradesRefused,))
        yield dispatch.engine(VM.SetState, self.set_state)
        yield dispatch.free(VM.Shutdown, self.shutdown)

    def version(self, request: Empty) -> vm_pb2.VersionResponse:
        version = self._session.vm.version
        if not isinstance(version, str):
            raise unusable(f"{type(self._session.vm).__name__}.version is", version, "be a str")
        return vm_pb2.VersionResponse(version=version)

    def initialize(self, request: vm_pb2.InitializeRequest) -> vm_pb2.InitializeResponse:
        session = self._session
        with session.lock:
            if session.node is not None or session.shutdown_begun.is_set():
                raise InvalidRequest("Initialize was called before: one process serves one chain, once")
            try:
                return self._initialize(request)
            except BaseException as error:
                if isinstance(error, UpgradesRefused):
                    session.log.error("the chain does not start: %s", error)
                self._on_shutdown()  # no chain is served, so SIGTERM may end the process
                raise

    def _initialize(self, request: vm_pb2.InitializeRequest) -> vm_pb2.InitializeResponse:
        # Imported here because a plugin has 5 s to start, and some starts never get a chain.
        from vmsdk.rpc.initialize import Identity, make_context

        session = self._session
        identity = Identity(request, has_upgrades=session.protocol.network_upgrades)
        session.node = node = _connect(request, session)
        session.metrics.register_own(node.database.metrics)
        try:
            context = make_context(session, node, identity, request)
            must_not_be_frozen(type(session.vm))
            session.vm.ctx = context
            config = self._configure(request.config_bytes, context.chain_data_dir)
            data = request.genesis_bytes, request.upgrade_bytes, config
            call("initialize", session.vm.initialize, context, *data)
        except BaseException:
            session.disconnect()
            raise
        try:
            last = session.blocks.load_last_accepted()
            response = vm_pb2.InitializeResponse(**last_accepted_fields(last))
            if session.vm.upgrades is not None:
                context.upgrades.admit(context.db, last, session.log)
        except BaseException:
            self._undo_initialize()
            raise
        if node.messenger is not None:
            notifier = Notifier(session.events, node.messenger, session.faults, session.log)
            session.stop_notifier = notifier.stop
            notifier.start()
        session.initialized = True
        session.log.info(
            "%s %s serves chain %s at height %d, protocol %d",
            session.vm.name,
            session.vm.version,
            identity.chain_id,
            response.height,
            session.protocol.version,
        )
        return response

    def _undo_initialize(self) -> None:
        session = self._session
        try:
            session.vm.shutdown()
        except BaseException as error:  # noqa: BLE001 - the node gets the error that came before
            session.faults.record("shutdown", error, "the node gets the error of initialize")
        finally:
            session.disconnect()

    def set_state(self, request: vm_pb2.SetStateRequest) -> vm_pb2.SetStateResponse:
        session = self._session
        try:
            state = State(request.state)
        except ValueError:
            raise InvalidRequest(f"unknown state {request.state}: known are 1, 2 and 3") from None
        # First, since the VM's set_state may report the end of a state sync.
        session.events.state_set(state)
        call("set_state", session.vm.set_state, state)
        session.log.info("the node set the state %s", state.name)
        return vm_pb2.SetStateResponse(**last_accepted_fields(session.blocks.load_last_accepted()))

    def shutdown(self, request: Empty) -> Empty:
        self._session.shutdown(self._on_shutdown)
        self._session.log.info("the node shut the chain down")
        return Empty()


def _connect(request: vm_pb2.InitializeRequest, session: Session) -> NodeConnection:
    addresses = request.db_server_addr, request.server_addr
    try:
        return NodeConnection(*addresses, session.protocol, session.connect)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
