"""Verifies that enough validators of the source chain have signed a message."""

from __future__ import annotations

from collections.abc import Sequence

from vmsdk import bls
from vmsdk.context import Context
from vmsdk.errors import InvalidPublicKey, InvalidWarpMessage, NodeError, WeightOverflow
from vmsdk.ids import ID
from vmsdk.nodeservices import WarpValidator, WarpValidatorSet
from vmsdk.warp.message import BitSetSignature, Message

# The quorum that the P-chain requires: vms/platformvm/txs/executor/warp_verifier.go.
QUORUM_NUM = 67
QUORUM_DEN = 100


def verify(
    message: Message,
    validators: WarpValidatorSet,
    network_id: int,
    quorum_num: int = QUORUM_NUM,
    quorum_den: int = QUORUM_DEN,
) -> None:
    """Check that validators with at least quorum_num/quorum_den of the total weight have signed
    *message*.

    *validators* is the canonical set of the source chain's subnet at an agreed P-chain height
    (`ValidatorState.get_warp_validator_set`), *network_id* the ID of this network. Raises
    `InvalidWarpMessage`, which names the broken rule, or `MissingExtra`.
    """
    if message.unsigned.network_id != network_id:
        raise InvalidWarpMessage("wrong networkID", f"{message.unsigned.network_id} instead of {network_id}")
    signers = _signers(message.signature, validators.validators)
    signed_weight = sum(signer.weight for signer in signers)
    if not is_quorum(signed_weight, validators.total_weight, quorum_num, quorum_den):
        raise InvalidWarpMessage(
            "signature weight is insufficient",
            f"{quorum_num}*{validators.total_weight} > {quorum_den}*{signed_weight}",
        )
    signature = message.signature.signature
    try:
        bls.aggregate_signatures([signature])
    except ValueError as error:
        raise InvalidWarpMessage("failed to parse signature", str(error)) from None
    try:
        public_key = bls.aggregate_public_keys(signer.public_key for signer in signers)
    except InvalidPublicKey as error:
        raise InvalidWarpMessage(error.rule) from error
    try:
        is_valid = bls.verify(public_key, message.unsigned.encode(), signature)
    except InvalidPublicKey:  # the keys cancel each other out
        is_valid = False
    if not is_valid:
        raise InvalidWarpMessage("signature is invalid")


def verify_at(
    ctx: Context,
    message: Message,
    p_chain_height: int,
    quorum_num: int = QUORUM_NUM,
    quorum_den: int = QUORUM_DEN,
) -> None:
    """Check *message* against the validators of its source chain at *p_chain_height*.

    Call it in `verify_with_context` with the height that is passed there, so that all nodes use the
    same validators. Raises like `verify`, and `InvalidWarpMessage` if the chain does not exist.
    """
    validators = canonical_set(ctx, message.unsigned.source_chain_id, p_chain_height)
    verify(message, validators, ctx.network_id, quorum_num, quorum_den)


def canonical_set(ctx: Context, chain_id: ID, p_chain_height: int) -> WarpValidatorSet:
    """Return the validators of *chain_id* at *p_chain_height*, in canonical order.

    Raises `InvalidWarpMessage` if the chain does not exist, or if the sum of the validators'
    weights exceeds 64 bits.
    """
    try:
        subnet_id = ctx.validators.get_subnet_id(chain_id)
    except NodeError as error:
        if error.code != "UNKNOWN":  # the connection failed, not the lookup
            raise
        raise InvalidWarpMessage("unknown source chain", f"{chain_id} ({error})") from error
    try:
        return ctx.validators.get_warp_validator_set(p_chain_height, subnet_id)
    except WeightOverflow as error:
        raise InvalidWarpMessage(str(error)) from error


def is_quorum(signed_weight: int, total_weight: int, quorum_num: int, quorum_den: int) -> bool:
    """Whether *signed_weight* is at least quorum_num/quorum_den of *total_weight*."""
    return quorum_num * total_weight <= quorum_den * signed_weight


def _signers(signature: BitSetSignature, validators: Sequence[WarpValidator]) -> list[WarpValidator]:
    if signature.bit_length > len(validators):
        raise InvalidWarpMessage("unknown validator", f"{signature.bit_length - 1} >= {len(validators)}")
    return [validators[index] for index in signature.indices]
