"""The handshake: the plugin sends its protocol version and address to the node."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.runtime.runtime_pb2 import InitializeRequest
from vmsdk.errors import VMError
from vmsdk.protocol import PROTOCOLS, RANGE, Protocol
from vmsdk.runtime.nodeprocess import ENGINE_ADDRESS_VARIABLE, INSTALL_COMMAND
from vmsdk.services.channel import connect

# Source: defaultHandshakeTimeout in the node's vms/rpcchainvm/runtime/runtime.go.
HANDSHAKE_TIMEOUT_S = 5.0

_NODE_VERSION = r"implements RPCChainVM protocol version (\d+)\. The VM"


class Handshake:
    """Registers a VM that speaks *protocol* at *address* with the node at *engine*.

    The call starts now, and continues in the background. The address must be bound, since the node
    may connect before `wait` returns. There is only one attempt, since the node stops a plugin
    whose first call has the wrong version. *source* describes where the version comes from.
    Raises `VMError` if *engine* is not an address.
    """

    def __init__(
        self,
        engine: str,
        protocol: Protocol,
        address: str,
        *,
        source: str,
        install_command: str = INSTALL_COMMAND,
    ) -> None:
        self._engine = engine
        self._install_command = install_command
        self._protocol = protocol
        self._source = source
        try:
            self._channel = connect(engine)
        except ValueError as error:
            raise unreachable(engine, str(error)) from None
        initialize = self._channel.unary_unary(
            Runtime.Initialize.path, InitializeRequest.SerializeToString, Empty.FromString
        )
        request = InitializeRequest(protocol_version=protocol.version, addr=address)
        try:
            with self._deadline():
                # The node listens before it starts a plugin, so a refused connection is final.
                self._call = initialize.future(request)
        except grpc.RpcError as error:
            explained = self._explain(error)
            self._channel.close()
            raise explained from None

    def wait(self) -> None:
        """Wait until the node accepts the plugin. Raises `VMError` if it does not."""
        try:
            with self._deadline():
                self._call.result()
        except grpc.RpcError as error:
            raise self._explain(error) from None
        finally:
            self._channel.close()

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Close the channel if the node takes too long.

        Entered only around what waits for the node. Imports in between may take long, too, and the
        response may have arrived meanwhile.
        """
        timer = threading.Timer(HANDSHAKE_TIMEOUT_S, self._channel.close)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _explain(self, error: grpc.RpcError) -> VMError:
        code, reason = error.code(), error.details() or ""
        if self._channel.is_closed:
            return unreachable(self._engine, f"no response within {HANDSHAKE_TIMEOUT_S:g} s")
        if code is not grpc.StatusCode.UNKNOWN:
            return unreachable(self._engine, f"{code.name}: {reason}")
        return refused(
            self._protocol.version, reason, source=self._source, install_command=self._install_command
        )


def unreachable(address: str, reason: str) -> VMError:
    """Return the error for an address at which no node listens."""
    return VMError(
        f"there is no node at {ENGINE_ADDRESS_VARIABLE}={address} ({reason}). A node starts its plugins, and "
        "listens there for them. To run this VM without a node: vmsdk dev TARGET. To run it on one: "
        f"{INSTALL_COMMAND}"
    )


def refused(ours: int, reason: str, *, source: str, install_command: str) -> VMError:
    """Return the error for a node that refuses protocol *ours* with the text *reason*."""
    found = re.search(_NODE_VERSION, reason)
    if found is None:
        return VMError(f"the node refused the handshake with protocol {ours}: {reason}")
    theirs = int(found[1])
    if theirs not in PROTOCOLS:
        return VMError(
            f"the node speaks protocol {theirs}, but this vmsdk speaks only {RANGE}: upgrade vmsdk "
            "(pip install --upgrade vmsdk), or use another release of the node"
        )
    return VMError(
        f"the node speaks protocol {theirs}, this VM was started with {ours} ({source}). Install it for this "
        f"node: {install_command} --protocol {theirs}"
    )
