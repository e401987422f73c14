"""The node's engine: calls the VM under the chain's lock, and stops the chain on fatal errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message

from vmsdk.host.client import Call, VMClient
from vmsdk.host.errors import CallFailed, ChainFatal, HostError

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class Engine:
    """Makes the calls of one chain. After a fatal error, every further call raises the same error.

    *on_fault* is called with the `ChainFatal`, on the thread of the call that failed.
    """

    def __init__(self, client: VMClient, on_fault: Callable[[ChainFatal], None] | None = None) -> None:
        self.client = client
        self.lock = threading.RLock()
        """The chain's lock, held during every call that a node makes one at a time."""
        self.fault: ChainFatal | None = None
        """Why the chain has stopped; None while it runs."""
        self._on_fault = on_fault
        self._fault_lock = threading.Lock()

    def call(
        self,
        call: Call[RequestT, ResponseT],
        request: RequestT,
        *,
        fatal: bool = False,
        locked: bool = True,
    ) -> ResponseT:
        """Call the VM, under the chain's lock if *locked*.

        Raises `CallFailed`, or `PluginGone` if the process has ended; if *fatal*, always
        `ChainFatal`.
        """
        with self.lock if locked else nullcontext():
            if self.fault is not None:
                raise self.fault
            try:
                return call(request)
            except grpc.RpcError as error:
                failure: HostError = call_failed(call.name, error)
            except HostError as error:
                failure = error
        if fatal:
            raise self.stop(failure) from None
        raise failure from None

    def stop(self, cause: HostError) -> ChainFatal:
        """Stop the chain because of *cause*; returns what to raise. Only the first cause counts."""
        with self._fault_lock:
            first = self.fault is None
            if self.fault is None:
                self.fault = ChainFatal(cause)
            fault = self.fault
        if first and self._on_fault is not None:
            self._on_fault(fault)
        return fault


def call_failed(method: str, error: grpc.RpcError) -> CallFailed:
    """Return the exception for an error of gRPC."""
    # The errors that grpcio raises are calls too, which its type stubs don't say.
    call = cast(grpc.Call, error)
    return CallFailed(method, call.code().name, call.details() or "")
