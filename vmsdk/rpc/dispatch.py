"""Runs servicers' methods for gRPC calls: takes the chain's lock, and maps exceptions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from vmsdk._pb._service import Method
from vmsdk.errors import NotLoaded
from vmsdk.rpc.conversion import InvalidRequest
from vmsdk.rpc.errors import details, status
from vmsdk.rpc.instruments import BLOCK_STEPS
from vmsdk.rpc.session import NotReady, Session

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class Handler(NamedTuple):
    """One gRPC method."""

    name: str
    behaviour: Callable[[Any, Any], Message]
    decode: Callable[[bytes], Message | None]
    encode: Callable[[Any], bytes]
    comes_first: bool
    """Whether HTTP gives way to its calls."""


class Servicer(Protocol):
    """One contract area of `vm.VM`."""

    def handlers(self) -> Iterator[Handler]:
        """The methods of this area at the session's protocol version."""


class Dispatcher:
    """Makes gRPC handlers of plain methods that take a request and return a response."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def engine(
        self,
        method: Method[RequestT, ResponseT],
        behaviour: Callable[[RequestT], ResponseT],
        *,
        expected: tuple[type[Exception], ...] = (),
    ) -> Handler:
        """A call of the chain's engine: one at a time, with the chain's lock, on a running chain.

        Errors of the types *expected* are normal outcomes of this call. Any other is a fault of
        the VM.
        """
        session = self._session
        lock = session.lock
        priority = session.priority
        watch = session.watchdog.watch
        name = _name(method)
        took = session.instruments.rpcs.of(name).observe
        waited = session.instruments.lock_waits.of(name).observe
        worked = session.instruments.blocks.of(BLOCK_STEPS[name]).observe if name in BLOCK_STEPS else None

        def handle(request: RequestT, context: grpc.ServicerContext) -> ResponseT:
            began_s = perf_counter()
            with watch(name, needs_lock=True), priority, lock:
                locked_s = perf_counter()
                try:
                    if session.fatal is not None or not session.initialized:
                        session.check_ready()
                    return behaviour(request)
                except BaseException as error:  # noqa: BLE001 - SystemExit too: every call needs a response
                    self._abort(method, context, error, expected)
                finally:
                    ended_s = perf_counter()
                    waited(locked_s - began_s)
                    took(ended_s - began_s)
                    if worked is not None:
                        worked(ended_s - locked_s)

        return self._handler(method, handle, comes_first=True)

    def free(
        self,
        method: Method[RequestT, ResponseT],
        behaviour: Callable[[RequestT], ResponseT],
        *,
        expected: tuple[type[Exception], ...] = (),
    ) -> Handler:
        """A call that runs concurrently with all others, without the chain's lock."""
        watch = self._session.watchdog.watch
        name = _name(method)
        took = self._session.instruments.rpcs.of(name).observe

        def handle(request: RequestT, context: grpc.ServicerContext) -> ResponseT:
            began_s = perf_counter()
            with watch(name):
                try:
                    return behaviour(request)
                except BaseException as error:  # noqa: BLE001 - SystemExit too: every call needs a response
                    self._abort(method, context, error, expected)
                finally:
                    took(perf_counter() - began_s)

        return self._handler(method, handle)

    def waiting(
        self,
        method: Method[RequestT, ResponseT],
        behaviour: Callable[[RequestT, grpc.ServicerContext], ResponseT],
    ) -> Handler:
        """A call that may block for long, and can learn that the node has cancelled it."""
        took = self._session.instruments.rpcs.of(_name(method)).observe

        def handle(request: RequestT, context: grpc.ServicerContext) -> ResponseT:
            began_s = perf_counter()
            try:
                return behaviour(request, context)
            except Cancelled:
                context.abort(grpc.StatusCode.CANCELLED, "the wait was cancelled")
            except BaseException as error:  # noqa: BLE001 - SystemExit too: every call needs a response
                self._abort(method, context, error)
            finally:
                took(perf_counter() - began_s)

        return self._handler(method, handle, is_traced=False)

    def _abort(
        self,
        method: Method[Any, Any],
        context: grpc.ServicerContext,
        error: BaseException,
        expected: tuple[type[Exception], ...] = (),
    ) -> NoReturn:
        name = _name(method)
        count = self._session.instruments.rpc_errors.add
        if isinstance(error, (*expected, NotReady, NotLoaded)) or error is self._session.fatal:
            count(name, "expected")
            if self._session.log.isEnabledFor(logging.DEBUG):
                self._session.log.debug("%s: %s", name, details(error))
        elif isinstance(error, InvalidRequest):
            count(name, "request")
            self._session.log.warning("%s: the node sent a malformed request: %s", name, error)
        else:
            count(name, "fault")
            self._session.faults.record(name, error, "the node gets this as an error")
        context.abort(*status(error))

    def _handler(
        self,
        method: Method[RequestT, ResponseT],
        handle: Callable[..., ResponseT],
        *,
        comes_first: bool = False,
        is_traced: bool = True,
    ) -> Handler:
        log = self._session.log
        instruments = self._session.instruments
        name = _name(method)
        parse = method.request.FromString

        def decode(data: bytes) -> RequestT | None:
            try:
                return parse(data)
            except DecodeError as error:
                # For None, the server refuses the call; an exception it would log with a traceback.
                log.warning("%s: the node sent a malformed message: %s", name, error)
                return None

        def traceable(request: RequestT, context: grpc.ServicerContext) -> ResponseT:
            tracer = instruments.tracer
            if tracer is None:
                return handle(request, context)
            response: ResponseT = tracer.call(name, handle, request, context)
            return response

        behaviour = traceable if is_traced else handle
        return Handler(name, behaviour, decode, method.response.SerializeToString, comes_first)


def _name(method: Method[Any, Any]) -> str:
    return method.path.rpartition("/")[2]


class Cancelled(Exception):
    """A wait has ended without a result: the node cancelled it, or the chain is shutting down."""
