"""Warp: what this chain signs, and which signatures of other chains it accepts."""

from __future__ import annotations

from collections.abc import Callable

from vmsdk import warp
from vmsdk.chain import Invalid
from vmsdk.context import Context
from vmsdk.errors import InvalidWarpMessage

QUORUM_NUMERATOR, QUORUM_DENOMINATOR = 2, 3

Verify = Callable[[warp.Message, int], None]
"""Checks the signature of a message at a P-chain height. Raises `Invalid`."""


def signature_check(ctx: Context) -> Verify:
    """Return the check against the validators of the source chain's subnet."""

    def verify(message: warp.Message, p_chain_height: int) -> None:
        try:
            warp.verify_at(ctx, message, p_chain_height, QUORUM_NUMERATOR, QUORUM_DENOMINATOR)
        except InvalidWarpMessage as error:
            raise Invalid(f"the message can't be verified: {error}") from None

    return verify


def no_check(message: warp.Message, p_chain_height: int) -> None:
    """Accept any signature: while the chain bootstraps, it was checked by others."""


def sign_everything(message: warp.UnsignedMessage, justification: bytes) -> None:
    """Allow any message to be signed, as AvalancheGo's xsvm does. Don't do this in a real chain."""
