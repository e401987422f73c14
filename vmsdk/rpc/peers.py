"""Peers: they connect, disconnect, and send application messages.

An error from any of these calls stops the chain for good, and a peer can cause one. So exceptions
of the author's handlers are contained: logged and counted, and the peer gets an application error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
        self._vm = session.vm

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
        version = NodeVersion(request.name, request.major, request.minor, request.patch)
        return self._contain("connected", self._vm.connected, node_identifier(request.node_id), version)

    def disconnected(self, request: vm_pb2.DisconnectedRequest) -> Empty:
        return self._contain("disconnected", self._vm.disconnected, node_identifier(request.node_id))

    # Messages of peers ----------------------------------------------------------------------------

    def app_request(self, request: vm_pb2.AppRequestMsg) -> Empty:
        node_id = node_identifier(request.node_id)
        arguments = node_id, request.request_id, _deadline(request), request.request

        def send(response: bytes | AppError) -> None:
            if isinstance(response, AppError):
                text = without_paths(response.message)
                self._node.sender.send_app_error(node_id, request.request_id, response.code, text)
            else:
                self._node.sender.send_app_response(node_id, request.request_id, response)

        return self._reply("app_request", lambda: self._vm.app_request(*arguments), send)

    def app_request_failed(self, request: vm_pb2.AppRequestFailedMsg) -> Empty:
        arguments = node_identifier(request.node_id), request.request_id, _error(request)
        return self._message("app_request_failed", self._vm.app_request_failed, *arguments)

    def app_response(self, request: vm_pb2.AppResponseMsg) -> Empty:
        arguments = node_identifier(request.node_id), request.request_id, request.response
        return self._message("app_response", self._vm.app_response, *arguments)

    def app_gossip(self, request: vm_pb2.AppGossipMsg) -> Empty:
        node_id = node_identifier(request.node_id)
        return self._message("app_gossip", self._vm.app_gossip, node_id, request.msg)

    # Messages of other chains ---------------------------------------------------------------------

    def cross_chain_app_request(self, request: vm_pb2.CrossChainAppRequestMsg) -> Empty:
        chain_id = identifier(request.chain_id)
        deadline = _deadline(request)

        def handle() -> bytes | None:
            if not isinstance(self._vm, CrossChainVM):
                raise AppError(AppError.UNREGISTERED_HANDLER, "unregistered handler")
            return self._vm.cross_chain_app_request(chain_id, request.request_id, deadline, request.request)

        def send(response: bytes | AppError) -> None:
            if isinstance(response, AppError):
                text = without_paths(response.message)
                self._node.sender.send_cross_chain_app_error(
                    chain_id, request.request_id, response.code, text
                )
            else:
                self._node.sender.send_cross_chain_app_response(chain_id, request.request_id, response)

        return self._reply("cross_chain_app_request", handle, send)

    def cross_chain_app_request_failed(self, request: vm_pb2.CrossChainAppRequestFailedMsg) -> Empty:
        handle = self._vm.cross_chain_app_request_failed if isinstance(self._vm, CrossChainVM) else _ignore
        arguments = identifier(request.chain_id), request.request_id, _error(request)
        return self._message("cross_chain_app_request_failed", handle, *arguments)

    def cross_chain_app_response(self, request: vm_pb2.CrossChainAppResponseMsg) -> Empty:
        handle = self._vm.cross_chain_app_response if isinstance(self._vm, CrossChainVM) else _ignore
        arguments = identifier(request.chain_id), request.request_id, request.response
        return self._message("cross_chain_app_response", handle, *arguments)

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
        send: Callable[[bytes | AppError], None],
    ) -> Empty:
        """Run a request's handler, and send one response unless the VM sends it later."""
        if not self._is_ready():
            return Empty()
        responses: list[bytes | AppError] = []
        try:
            response = handle()
            if response is None:
                return Empty()
            if not isinstance(response, bytes):
                raise unusable(f"{method} returned", response, "return bytes, or None to respond later")
            responses.append(response)
        except Fatal:
            raise
        except AppError as error:
            responses.append(error)
        except BaseException as error:  # noqa: BLE001 - an error here would stop the chain for good
            self._session.faults.record(method, error, "the peer gets an application error")
        responses.append(AppError(AppError.UNEXPECTED, "unexpected error"))
        for each in responses:
            try:
                send(each)
            except NodeError as error:
                self._session.faults.record(method, error, "the peer may get no response")
            except Exception as error:  # noqa: BLE001 - an error here would stop the chain for good
                self._session.faults.record(method, error, "the peer gets an application error")
                continue
            break
        return Empty()

    def _message(self, method: str, handle: Callable[..., object], *arguments: object) -> Empty:
        """Run the handler of a message without a response, if the chain is running."""
        return self._contain(method, handle, *arguments) if self._is_ready() else Empty()

    def _is_ready(self) -> bool:
        """Whether the chain is running. Raises `Fatal` if its author has stopped it."""
        if self._session.fatal is not None:
            raise self._session.fatal
        return self._session.initialized

    def _contain(self, method: str, handle: Callable[..., object], *arguments: object) -> Empty:
        try:
            call(method, handle, *arguments)
        except Fatal:
            raise
        except BaseException as error:  # noqa: BLE001 - an error here would stop the chain for good
            self._session.faults.record(method, error, "the chain continues")
        return Empty()


def _deadline(request: vm_pb2.AppRequestMsg | vm_pb2.CrossChainAppRequestMsg) -> Timestamp:
    return moment(request.deadline) if request.HasField("deadline") else _NO_DEADLINE


def _error(request: vm_pb2.AppRequestFailedMsg | vm_pb2.CrossChainAppRequestFailedMsg) -> AppError:
    return AppError(request.error_code, request.error_message)


def _ignore(*arguments: object) -> None:
    """Drop the messages of other chains: the VM doesn't implement `CrossChainVM`."""
