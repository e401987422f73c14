"""A server whose methods are functions of the test: for what a healthy node never does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeAlias

import grpc
from typing_extensions import Self

from vmsdk._pb._service import Method

Behaviour: TypeAlias = "Callable[[Any, grpc.ServicerContext], Any]"
Script: TypeAlias = "Mapping[Method[Any, Any], Behaviour]"

DEADLINE_S = 60.0
OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))


class ScriptedNode:
    """Answers each method by its function, on a port of its own, or where *listen* says; a function
    may return raw bytes.
    """

    def __init__(self, methods: Script, listen: str = "127.0.0.1:0") -> None:
        self._changed = threading.Condition()
        self.requests: list[tuple[str, Any]] = []
        """Method name and request of every call, in the order of arrival."""
        self._pool = ThreadPoolExecutor(128)
        self._server = grpc.server(self._pool, options=OPTIONS)
        for method, behaviour in methods.items():
            service, name = method.path.strip("/").split("/")
            handler = self._handler(name, method, behaviour)
            self._server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service, {name: handler})]
            )
        self.port = self._server.add_insecure_port(listen)
        self.address = f"{listen.removesuffix(':0')}:{self.port}" if listen.endswith(":0") else listen

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop hard: calls in flight are aborted."""
        self._server.stop(None).wait(DEADLINE_S)
        self._pool.shutdown(wait=False)

    @property
    def called(self) -> list[str]:
        """The names of the methods called, in the order of arrival."""
        with self._changed:
            return [name for name, _ in self.requests]

    def requests_of(self, method: Method[Any, Any]) -> list[Any]:
        """The requests to one method."""
        name = method.path.rpartition("/")[2]
        with self._changed:
            return [request for called, request in self.requests if called == name]

    def wait_for_calls(self, name: str, count: int = 1) -> None:
        """Wait until *name* was called *count* times. Raises `TimeoutError`."""

        def enough() -> bool:
            return [called for called, _ in self.requests].count(name) >= count

        with self._changed:
            if not self._changed.wait_for(enough, DEADLINE_S):
                raise TimeoutError(f"{name} was not called {count} times: {self.requests}")

    def _handler(
        self, name: str, method: Method[Any, Any], behaviour: Behaviour
    ) -> grpc.RpcMethodHandler[Any, Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._changed:
                self.requests.append((name, request))
                self._changed.notify_all()
            return behaviour(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=method.request.FromString,
            response_serializer=lambda response: (
                response if isinstance(response, bytes) else response.SerializeToString()
            ),
        )


def answers(response: Any) -> Behaviour:
    """A method that always answers *response*."""
    return lambda request, context: response


def fails(code: grpc.StatusCode, details: str) -> Behaviour:
    """A method that always fails."""

    def fail(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(code, details)

    return fail
