"""Peers: they connect, disconnect, and send application messages.

An error from any of these calls stops the chain for good, and a peer can cause one. So a fault of
the author's handler is contained: it is logged and counted, and the peer gets an application error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import AppError, Fatal, NodeError
from vmsdk.rpc.conversion import call, identifier, moment, node_identifier, unusable
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.errors import without_paths
from vmsdk.rpc.session import Session
from vmsdk.services.node import NodeConnection
from vmsdk.timestamp import MAX_SECONDS, Timestamp
from vmsdk.vm import CrossChainVM, NodeVersion

_NO_DEADLINE = Timestamp(MAX_SECONDS)


class Peers:
    """Passes peers' connections and messages to the VM, and contains the VM's faults."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.engine(VM.Connected, self.connected)
        yield dispatch.engine(VM.Disconnected, self.disconnected)
        yield dispatch.free(VM.AppRequest, self.app_request)
        yield dispatch.free(VM.AppRequestFailed, self.app_request_failed)
        yield dispatch.free(VM.AppResponse, self.app_response)
        yield dispatch.free(VM.AppGossip, self.app_gossip)
        if self._session.protocol.cross_chain_messages:
            yield dispatch.free(VM.CrossChainAppRequest, self.cross_chain_app_request)
            yield dispatch.free(VM.CrossChainAppRequestFailed, self.cross_chain_app_request_failed)
            yield dispatch.free(VM.CrossChainAppResponse, self.cross_chain_app_response)

    # Connections ----------------------------------------------------------------------------------

    def connected(self, request: vm_pb2.ConnectedRequest) -> Empty:
        node_id = node_identifier(request.node_id)
        version = NodeVersion(request.name, request.major, request.minor, request.patch)
        return self._contain("connected", lambda: self._session.vm.connected(node_id, version))

    def disconnected(self, request: vm_pb2.DisconnectedRequest) -> Empty:
        node_id = node_identifier(request.node_id)
        return self._contain("disconnected", lambda: self._session.vm.disconnected(node_id))

    # Messages of peers ----------------------------------------------------------------------------

    def app_request(self, request: vm_pb2.AppRequestMsg) -> Empty:
        node_id = node_identifier(request.node_id)
        deadline = moment(request.deadline) if request.HasField("deadline") else _NO_DEADLINE

        def handle() -> bytes | None:
            return self._session.vm.app_request(node_id, request.request_id, deadline, request.request)

        def respond(response: bytes) -> None:
            self._node.sender.send_app_response(node_id, request.request_id, response)

        def refuse(error: AppError) -> None:
            self._node.sender.send_app_error(
                node_id, request.request_id, error.code, without_paths(error.message)
            )

        return self._reply("app_request", handle, respond, refuse)

    def app_request_failed(self, request: vm_pb2.AppRequestFailedMsg) -> Empty:
        node_id = node_identifier(request.node_id)
        error = AppError(request.error_code, request.error_message)
        return self._message(
            "app_request_failed",
            lambda: self._session.vm.app_request_failed(node_id, request.request_id, error),
        )

    def app_response(self, request: vm_pb2.AppResponseMsg) -> Empty:
        node_id = node_identifier(request.node_id)
        return self._message(
            "app_response",
            lambda: self._session.vm.app_response(node_id, request.request_id, request.response),
        )

    def app_gossip(self, request: vm_pb2.AppGossipMsg) -> Empty:
        node_id = node_identifier(request.node_id)
        return self._message("app_gossip", lambda: self._session.vm.app_gossip(node_id, request.msg))

    # Messages of other chains ---------------------------------------------------------------------

    def cross_chain_app_request(self, request: vm_pb2.CrossChainAppRequestMsg) -> Empty:
        chain_id = identifier(request.chain_id)
        deadline = moment(request.deadline) if request.HasField("deadline") else _NO_DEADLINE

        def handle() -> bytes | None:
            vm = self._session.vm
            if not isinstance(vm, CrossChainVM):
                raise AppError(AppError.UNREGISTERED_HANDLER, "unregistered handler")
            return vm.cross_chain_app_request(chain_id, request.request_id, deadline, request.request)

        def respond(response: bytes) -> None:
            self._node.sender.send_cross_chain_app_response(chain_id, request.request_id, response)

        def refuse(error: AppError) -> None:
            self._node.sender.send_cross_chain_app_error(
                chain_id, request.request_id, error.code, without_paths(error.message)
            )

        return self._reply("cross_chain_app_request", handle, respond, refuse)

    def cross_chain_app_request_failed(self, request: vm_pb2.CrossChainAppRequestFailedMsg) -> Empty:
        chain_id = identifier(request.chain_id)
        error = AppError(request.error_code, request.error_message)

        def handle() -> None:
            if isinstance(vm := self._session.vm, CrossChainVM):
                vm.cross_chain_app_request_failed(chain_id, request.request_id, error)

        return self._message("cross_chain_app_request_failed", handle)

    def cross_chain_app_response(self, request: vm_pb2.CrossChainAppResponseMsg) -> Empty:
        chain_id = identifier(request.chain_id)

        def handle() -> None:
            if isinstance(vm := self._session.vm, CrossChainVM):
                vm.cross_chain_app_response(chain_id, request.request_id, request.response)

        return self._message("cross_chain_app_response", handle)

    # Containment ----------------------------------------------------------------------------------

    @property
    def _node(self) -> NodeConnection:
        node = self._session.node
        assert node is not None, "messages are handled only on an initialised chain"
        return node

    def _reply(
        self,
        method: str,
        handle: Callable[[], bytes | None],
        respond: Callable[[bytes], None],
        refuse: Callable[[AppError], None],
    ) -> Empty:
        """Run a request's handler, and send exactly one response, unless it comes later."""
        if not self._is_ready():
            return Empty()
        replies: list[Callable[[], None]] = []
        try:
            response = handle()
            if response is None:
                return Empty()
            if not isinstance(response, bytes):
                raise unusable(f"{method} returned", response, "return bytes, or None to respond later")
            replies.append(partial(respond, response))
        except Fatal:
            raise
        except AppError as error:
            replies.append(partial(refuse, error))
        except BaseException as error:  # noqa: BLE001 - an error here would stop the chain for good
            self._session.faults.record(method, error, "the peer gets an application error")
        replies.append(partial(refuse, AppError(AppError.UNEXPECTED, "unexpected error")))
        any(self._sent(method, reply) for reply in replies)
        return Empty()

    def _sent(self, method: str, reply: Callable[[], None]) -> bool:
        """Send a response. False if it can't be sent as the VM made it."""
        try:
            reply()
        except NodeError as error:
            self._session.faults.record(method, error, "the peer may get no response")
        except Exception as error:  # noqa: BLE001 - an error here would stop the chain for good
            self._session.faults.record(method, error, "the peer gets an application error")
            return False
        return True

    def _message(self, method: str, handle: Callable[[], object]) -> Empty:
        """Run the handler of a message without a response. Too early or too late, it is dropped."""
        return self._contain(method, handle) if self._is_ready() else Empty()

    def _is_ready(self) -> bool:
        """Whether the chain takes messages. Raises `Fatal` if its author has stopped it."""
        if self._session.fatal is not None:
            raise self._session.fatal
        return self._session.initialized

    def _contain(self, method: str, handle: Callable[[], object]) -> Empty:
        try:
            call(method, handle)
        except Fatal:
            raise
        except BaseException as error:  # noqa: BLE001 - an error here would stop the chain for good
            self._session.faults.record(method, error, "the chain goes on")
        return Empty()
