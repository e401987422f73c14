"""Handlers of messages."""

from __future__ import annotations

from vmsdk.errors import AppError
from vmsdk.ids import NodeID
from vmsdk.interface import Interface
from vmsdk.p2p.peers import Validators
from vmsdk.timestamp import Timestamp

# Source: network/p2p/handler.go. Go's library reserves the IDs 0 to 4.
TX_GOSSIP = 0
SIGNATURE_REQUEST = 2


class Handler(Interface):
    """Handles the requests and gossip of one protocol. By default it refuses all.

    Up to two messages are handled at the same time, in parallel with the engine and without
    `Context.lock`. Peers may send any bytes.
    """

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        """Return the response to a peer's request, or raise `AppError` to refuse it.

        The peer ignores a response after *deadline*.
        """
        raise unregistered()

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        """Handle a message that a peer gossips."""


class ValidatorsOnly(Handler):
    """Refuses the messages of peers that don't validate the chain."""

    def __init__(self, handler: Handler, validators: Validators) -> None:
        self._handler = handler
        self._validators = validators

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        if node_id not in self._validators:
            raise AppError(AppError.NOT_A_VALIDATOR, "not a validator")
        return self._handler.app_request(node_id, deadline, request)

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        if node_id in self._validators:
            self._handler.app_gossip(node_id, message)


def unregistered() -> AppError:
    """The error for a request without a handler."""
    return AppError(AppError.UNREGISTERED_HANDLER, "unregistered handler")
