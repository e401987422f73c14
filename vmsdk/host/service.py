"""One service that the node serves to a plugin."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import grpc

from vmsdk._pb._service import Method, Service


class NodeService:
    """The base of the services: a subclass has one method for each of the wire's, by the same name.

    Each takes the request and returns the response. An exception becomes the gRPC status UNKNOWN with
    its text, as in the node. `calls` counts the calls by method name.
    """

    service: ClassVar[type[Service]]
    """The generated table of the service's methods."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, deque[str]] = {}
        self._calls_lock = threading.Lock()

    def served(self) -> Iterable[str]:
        """The names of the methods that the host's protocol version has; the rest is UNIMPLEMENTED."""
        return self.service.methods

    def fail_next(self, method: str, message: str = "injected fault", *, times: int = 1) -> None:
        """Let the next *times* calls of *method* fail with UNKNOWN and *message*, and do nothing."""
        if method not in self.service.methods:
            raise ValueError(f"{self.service.full_name} has no method {method!r}")
        with self._calls_lock:
            self._faults.setdefault(method, deque()).extend([message] * times)

    def handler(self) -> grpc.GenericRpcHandler:
        """All served methods, for `grpc.Server.add_generic_rpc_handlers`."""
        methods = self.service.methods
        return grpc.method_handlers_generic_handler(
            self.service.full_name, {name: self._method(name, methods[name]) for name in self.served()}
        )

    def _method(self, name: str, method: Method[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour: Callable[[Any], Any] = getattr(self, name)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self._count(name)
                return behaviour(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, a Go server answers UNKNOWN with its text
                context.abort(grpc.StatusCode.UNKNOWN, str(error))

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    def _count(self, name: str) -> None:
        with self._calls_lock:
            self.calls[name] += 1
            faults = self._faults.get(name)
            if faults:
                raise InjectedFault(faults.popleft())


class InjectedFault(Exception):
    """What `NodeService.fail_next` asked for."""
