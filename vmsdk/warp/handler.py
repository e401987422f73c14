"""Signs messages at the request of peers (ACP-118).

Source: network/p2p/acp118 of AvalancheGo.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from google.protobuf.message import DecodeError

from vmsdk._pb.sdk.sdk_pb2 import SignatureRequest, SignatureResponse
from vmsdk.context import Context
from vmsdk.errors import AppError, InvalidInput, NodeError, NotFound
from vmsdk.ids import ID, NodeID
from vmsdk.p2p import Handler
from vmsdk.timestamp import Timestamp
from vmsdk.warp.message import UnsignedMessage

CACHED_SIGNATURES = 1024


class SignatureHandler(Handler):
    """Signs the messages of this chain that *verify* allows.

    `verify(message, justification)` returns None to allow a message, which this validator then
    vouches for. It raises `AppError`, `InvalidInput` or `NotFound` to refuse it. *justification* is
    additional data from the requester, any bytes. The message always has the IDs of this network
    and this chain.

    The last 1,024 signatures are cached: *verify* is not called again for their messages.
    """

    def __init__(self, ctx: Context, verify: Callable[[UnsignedMessage, bytes], None]) -> None:
        if not callable(verify):
            raise TypeError(
                f"SignatureHandler(ctx, {verify!r}): pass a function verify(message, justification)"
            )
        self._ctx = ctx
        self._verify = verify
        self._lock = threading.Lock()
        self._signatures: OrderedDict[ID, bytes] = OrderedDict()
        self._failing = False

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        """Return the signature, or raise `AppError` with the code and text of Go's handler."""
        try:
            asked = SignatureRequest.FromString(request)
        except DecodeError as error:
            raise _unexpected(f"failed to unmarshal request: {error}") from None
        try:
            message = UnsignedMessage.decode(asked.message)
        except InvalidInput as error:
            raise _unexpected(f"failed to parse warp unsigned message: {error}") from None
        signature = self._cached(message.id)
        if signature is None:
            self._check(message, asked.justification)
            signature = self._signed(message)
        return SignatureResponse(signature=signature).SerializeToString()

    def _cached(self, message_id: ID) -> bytes | None:
        with self._lock:
            if message_id in self._signatures:
                self._signatures.move_to_end(message_id)
            return self._signatures.get(message_id)

    def _check(self, message: UnsignedMessage, justification: bytes) -> None:
        # The node's signer also refuses these, but that takes a call.
        if message.source_chain_id != self._ctx.chain_id:
            raise _unexpected("failed to sign message: wrong SourceChainID")
        if message.network_id != self._ctx.network_id:
            raise _unexpected("failed to sign message: wrong networkID")
        try:
            value: object = self._verify(message, justification)
        except (InvalidInput, NotFound) as error:
            raise _unexpected(str(error)) from error
        if value is not None:
            raise TypeError(
                f"the verifier of SignatureHandler returned {value!r:.100}, so the message is not signed: "
                "return None to allow it, raise AppError to refuse it"
            )

    def _signed(self, message: UnsignedMessage) -> bytes:
        try:
            signature = self._ctx.warp_signer.sign(
                message.network_id, message.source_chain_id, message.payload
            )
        except NodeError as error:
            level = logging.DEBUG if self._failing else logging.WARNING
            self._failing = True
            self._ctx.log.log(level, "the node does not sign warp message %s: %s", message.id, error)
            raise _unexpected(f"failed to sign message: {error}") from error
        self._failing = False
        with self._lock:
            self._signatures[message.id] = signature
            if len(self._signatures) > CACHED_SIGNATURES:
                self._signatures.popitem(last=False)
        return signature


def _unexpected(text: str) -> AppError:
    return AppError(AppError.UNEXPECTED, text)
