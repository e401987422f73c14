"""CreateHandlers and its successors: the addresses of the chain's HTTP handlers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.rpc.conversion import unusable
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.session import Session


class Handlers:
    """Starts a server for each of the author's HTTP handlers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.engine(VM.CreateHandlers, self.create_handlers)
        if self._session.protocol.http2_method == "CreateHTTP2Handler":
            yield dispatch.engine(VM.CreateHTTP2Handler, self.create_http2_handler)
        elif self._session.protocol.http2_method == "NewHTTPHandler":
            yield dispatch.engine(VM.NewHTTPHandler, self.new_http_handler)

    def create_handlers(self, request: Empty) -> vm_pb2.CreateHandlersResponse:
        handlers = self._session.vm.create_handlers()
        if not isinstance(handlers, Mapping):
            raise unusable("create_handlers returned", handlers, "return a mapping of paths to apps")
        served = {prefix: self._session.serve_http(app, prefix=prefix) for prefix, app in handlers.items()}
        return vm_pb2.CreateHandlersResponse(
            handlers=[
                vm_pb2.Handler(prefix=prefix, server_addr=address) for prefix, address in served.items()
            ]
        )

    def create_http2_handler(self, request: Empty) -> vm_pb2.CreateHTTP2HandlerResponse:
        return vm_pb2.CreateHTTP2HandlerResponse(server_addr=self._serve_header_routed())

    def new_http_handler(self, request: Empty) -> vm_pb2.NewHTTPHandlerResponse:
        return vm_pb2.NewHTTPHandlerResponse(server_addr=self._serve_header_routed())

    def _serve_header_routed(self) -> str:
        """The address of the author's header-routed handler; empty if there is none."""
        app = self._session.vm.new_http_handler()
        return "" if app is None else self._session.serve_http(app, prefix=None)
