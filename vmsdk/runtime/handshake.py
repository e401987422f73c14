"""The handshake: the plugin tells the node that started it which protocol it speaks, and where."""

from __future__ import annotations

import re

import grpc

from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.runtime.runtime_pb2 import InitializeRequest
from vmsdk.protocol import NEWEST, OLDEST, PROTOCOLS, Protocol
from vmsdk.runtime.engine import ENGINE_ADDRESS_VARIABLE, INSTALL_COMMAND
from vmsdk.runtime.exits import CannotServe
from vmsdk.services.channel import connect

# Source: defaultHandshakeTimeout in the node's vms/rpcchainvm/runtime/runtime.go.
HANDSHAKE_TIMEOUT_S = 5.0

_NODE_VERSION = re.compile(r"implements RPCChainVM protocol version (\d+)\. The VM")


class EngineUnreachable(CannotServe):
    """Nobody answers at the engine's address."""

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(
            f"the node at {ENGINE_ADDRESS_VARIABLE}={address} does not answer ({reason}): plugins "
            "are started "
            "by a node, which listens there while it waits for them. To run this VM without a node use "
            "vmsdk dev TARGET; to run it on one, put it into the plugin directory with vmsdk install"
        )


class HandshakeRefused(CannotServe):
    """The node speaks another protocol version."""

    def __init__(
        self, ours: int, theirs: int | None, reason: str, install_command: str = INSTALL_COMMAND
    ) -> None:
        self.ours = ours
        self.theirs = theirs
        self.reason = reason
        if theirs is None:
            text = f"the node refused the handshake of protocol {ours}: {reason}"
        elif theirs not in PROTOCOLS:
            text = (
                f"the node speaks protocol {theirs}, and this vmsdk only {OLDEST} to {NEWEST}: "
                "install one that "
                "speaks it (pip install --upgrade vmsdk), or a node of another version"
            )
        else:
            text = (
                f"the node speaks protocol {theirs}, this VM was started with {ours}. Install it for this "
                f"node: {install_command} --protocol {theirs}"
            )
        super().__init__(text)


class Handshake:
    """The one call that tells the node at *engine* that the VM speaks *protocol* at *address*.

    Raises `EngineUnreachable` for an address that is none. The call begins at once and goes on in the
    background, so that there is time to import the rest. The address must be bound: the node may connect
    before `wait` returns. There is one attempt, since the node stops a plugin whose first call has the
    wrong version.
    """

    def __init__(
        self, engine: str, protocol: Protocol, address: str, install_command: str = INSTALL_COMMAND
    ) -> None:
        self._engine = engine
        self._install_command = install_command
        self._protocol = protocol
        try:
            self._channel = connect(engine)
        except ValueError as error:
            raise EngineUnreachable(engine, str(error)) from None
        initialize = self._channel.unary_unary(
            Runtime.Initialize.path,
            request_serializer=Runtime.Initialize.request.SerializeToString,
            response_deserializer=Runtime.Initialize.response.FromString,
        )
        # Without wait-for-ready: the node listens before it starts us, so a refused connection is
        # final, and saying so at once beats five silent seconds.
        self._answer = initialize.future(
            InitializeRequest(protocol_version=protocol.version, addr=address),
            timeout=HANDSHAKE_TIMEOUT_S,
            wait_for_ready=False,
        )

    def wait(self) -> None:
        """Block until the node has answered. Raises `HandshakeRefused` or `EngineUnreachable`."""
        try:
            self._answer.result()
        except grpc.RpcError as error:
            raise self._explain(error) from None
        finally:
            self._channel.close()

    def _explain(self, error: grpc.RpcError) -> CannotServe:
        code, reason = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNKNOWN:
            theirs = _NODE_VERSION.search(reason)
            return HandshakeRefused(
                self._protocol.version, int(theirs[1]) if theirs else None, reason, self._install_command
            )
        return EngineUnreachable(self._engine, f"{code.name}: {reason}")
