"""Version, Initialize, SetState, Shutdown: a chain's life."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.protocol import Protocol
from vmsdk.rpc.answers import last_accepted_fields
from vmsdk.rpc.dispatch import Dispatcher, Handler, InvalidRequest
from vmsdk.rpc.returned import Unusable
from vmsdk.rpc.session import Session
from vmsdk.services.node import NodeConnection
from vmsdk.state import State


class Lifecycle:
    """Takes the chain from nothing to its end."""

    def __init__(self, session: Session, on_shutdown: Callable[[], None]) -> None:
        self._session = session
        self._on_shutdown = on_shutdown

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.free(VM.Version, self.version)
        yield dispatch.free(VM.Initialize, self.initialize)
        yield dispatch.engine(VM.SetState, self.set_state)
        yield dispatch.free(VM.Shutdown, self.shutdown)

    def version(self, request: Empty) -> vm_pb2.VersionResponse:
        version = self._session.vm.version
        if not isinstance(version, str):
            raise Unusable(f"{type(self._session.vm).__name__}.version is", version, "be a str")
        return vm_pb2.VersionResponse(version=version)

    def initialize(self, request: vm_pb2.InitializeRequest) -> vm_pb2.InitializeResponse:
        # Only now, since no registration launch needs it and a plugin's start is a race.
        from vmsdk.rpc.initialize import Identity, make_context

        session = self._session
        with session.lock:
            if session.node is not None or session.shutdown_begun.is_set():
                raise InvalidRequest("Initialize was called before: one process serves one chain, once")
            identity = Identity(request, has_upgrades=session.protocol.network_upgrades)
            session.node = node = _connect(request, session.protocol)
            try:
                context = make_context(session, node, identity, request)
                session.vm.initialize(
                    context, request.genesis_bytes, request.upgrade_bytes, request.config_bytes
                )
            except BaseException:
                session.disconnect()
                raise
            try:
                response = vm_pb2.InitializeResponse(**last_accepted_fields(session.blocks))
            except BaseException:
                self._undo_initialize()
                raise
            if node.messenger is not None:
                from vmsdk.rpc.notifier import Notifier

                session.notifier = Notifier(session.events, node.messenger, session.faults, session.log)
                session.notifier.start()
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
        except BaseException as error:  # noqa: BLE001 - the node is told why it was called
            session.faults.record("shutdown", error, "the node gets the error before it")
        finally:
            session.disconnect()

    def set_state(self, request: vm_pb2.SetStateRequest) -> vm_pb2.SetStateResponse:
        session = self._session
        try:
            state = State(request.state)
        except ValueError:
            raise InvalidRequest(f"unknown state {request.state}: known are 1, 2 and 3") from None
        # First, since the VM may tell the end of a state sync from inside its set_state.
        session.events.state_set(state)
        session.vm.set_state(state)
        session.log.info("the node set the state %s", state.name)
        return vm_pb2.SetStateResponse(**last_accepted_fields(session.blocks))

    def shutdown(self, request: Empty) -> Empty:
        self._session.shutdown(self._on_shutdown)
        self._session.log.info("the node shut the chain down")
        return Empty()


def _connect(request: vm_pb2.InitializeRequest, protocol: Protocol) -> NodeConnection:
    try:
        return NodeConnection(request.db_server_addr, request.server_addr, protocol)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
