"""What the P-chain knows of validators, asked from the node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.validatorstate import validator_state_pb2 as pb
from vmsdk._pb.validatorstate.validator_state_grpc import ValidatorState as Methods
from vmsdk.bls import UNCOMPRESSED_PUBLIC_KEY_BYTES
from vmsdk.errors import InvalidInput, InvalidPublicKey, NodeTooOld
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import (
    CurrentValidator,
    CurrentValidatorSet,
    Validator,
    ValidatorState,
    WarpValidator,
    WarpValidatorSet,
)
from vmsdk.protocol import Protocol
from vmsdk.services.call import Call
from vmsdk.services.canonical import canonical_set
from vmsdk.services.numbers import unsigned
from vmsdk.services.recent import Recent

# Sources: the caches of the node's own VM library, snow/validators of protocol 45.
CACHED_HEIGHTS = 8
CACHED_SUBNETS = 4096

T = TypeVar("T")


class ValidatorStateClient(ValidatorState):
    """The validator state behind *channel*.

    Remembers the subnets of 4096 chains and the warp validator sets of 8 heights: neither ever changes.
    An answer with an ID or a key of the wrong length is a `NodeError`.
    """

    def __init__(self, channel: grpc.Channel, protocol: Protocol) -> None:
        self._protocol = protocol
        self._minimum_height = Call(channel, Methods.GetMinimumHeight)
        self._current_height = Call(channel, Methods.GetCurrentHeight)
        self._subnet_id = Call(channel, Methods.GetSubnetID)
        self._validator_set = Call(channel, Methods.GetValidatorSet)
        self._current_set = Call(channel, Methods.GetCurrentValidatorSet)
        self._warp_sets = Call(channel, Methods.GetWarpValidatorSets)
        self._warp_set = Call(channel, Methods.GetWarpValidatorSet)
        self._recent_subnets: Recent[ID, ID] = Recent(CACHED_SUBNETS)
        self._recent_warp_sets: Recent[int, dict[ID, WarpValidatorSet]] = Recent(CACHED_HEIGHTS)

    def get_minimum_height(self) -> int:
        return self._minimum_height(Empty()).height

    def get_current_height(self) -> int:
        return self._current_height(Empty()).height

    def get_subnet_id(self, chain_id: ID) -> ID:
        return self._recent_subnets.get(ID(chain_id), self._ask_subnet_id)

    def get_validator_set(self, height: int, subnet_id: ID) -> dict[NodeID, Validator]:
        request = pb.GetValidatorSetRequest(height=_height(height), subnet_id=ID(subnet_id))
        answer = self._validator_set(request)
        validators = _parsed(self._validator_set, _validators, answer.validators)
        return {validator.node_id: validator for validator in validators}

    def get_current_validator_set(self, subnet_id: ID) -> CurrentValidatorSet:
        if not self._protocol.current_validators:
            raise NodeTooOld("GetCurrentValidatorSet", needs=38, has=self._protocol.version)
        answer = self._current_set(pb.GetCurrentValidatorSetRequest(subnet_id=ID(subnet_id)))
        validators = _parsed(self._current_set, _current_validators, answer.validators)
        return CurrentValidatorSet(
            {validator.validation_id: validator for validator in validators}, answer.current_height
        )

    def get_warp_validator_sets(self, height: int) -> dict[ID, WarpValidatorSet]:
        if not self._protocol.warp_validator_sets:
            raise NodeTooOld("GetWarpValidatorSets", needs=44, has=self._protocol.version)
        return dict(self._recent_warp_sets.get(_height(height), self._ask_warp_sets))

    def get_warp_validator_set(self, height: int, subnet_id: ID) -> WarpValidatorSet:
        if self._protocol.warp_validator_set:
            request = pb.GetWarpValidatorSetRequest(height=_height(height), subnet_id=ID(subnet_id))
            return _parsed(self._warp_set, _warp_set, self._warp_set(request))
        if self._protocol.warp_validator_sets:
            known = self._recent_warp_sets.get(_height(height), self._ask_warp_sets).get(ID(subnet_id))
            if known is not None:
                return known
            # The node leaves out subnets that are unknown and those whose weight overflows: tell which.
        return canonical_set(self.get_validator_set(height, subnet_id).values())

    def _ask_subnet_id(self, chain_id: ID) -> ID:
        answer = self._subnet_id(pb.GetSubnetIDRequest(chain_id=chain_id))
        return _parsed(self._subnet_id, ID, answer.subnet_id)

    def _ask_warp_sets(self, height: int) -> dict[ID, WarpValidatorSet]:
        answer = self._warp_sets(pb.GetWarpValidatorSetsRequest(height=height))
        return _parsed(self._warp_sets, _warp_sets, answer.validator_sets)


def _height(value: int) -> int:
    return unsigned("a P-chain height", value, bits=64)


def _parsed(call: Call[Any, Any], parse: Callable[[Any], T], answer: object) -> T:
    """What *parse* makes of *answer*; an ID or key of the wrong length in it is the node's fault."""
    try:
        return parse(answer)
    except InvalidInput as error:
        raise call.malformed(str(error)) from None


def _validators(answer: Iterable[pb.Validator]) -> list[Validator]:
    return [
        Validator(NodeID(each.node_id), each.weight, _public_key(each.public_key) if each.public_key else b"")
        for each in answer
    ]


def _current_validators(answer: Iterable[pb.Validator]) -> list[CurrentValidator]:
    return [
        CurrentValidator(
            node_id=NodeID(each.node_id),
            weight=each.weight,
            public_key=_public_key(each.public_key) if each.public_key else b"",
            validation_id=ID(each.validation_id),
            start_time=each.start_time,
            min_nonce=each.min_nonce,
            is_active=each.is_active,
            is_l1_validator=each.is_l1_validator,
        )
        for each in answer
    ]


def _warp_sets(answer: Iterable[pb.WarpValidatorSet]) -> dict[ID, WarpValidatorSet]:
    return {ID(each.subnet_id): _warp_set(each) for each in answer}


def _warp_set(answer: pb.WarpValidatorSet | pb.GetWarpValidatorSetResponse) -> WarpValidatorSet:
    return WarpValidatorSet(
        tuple(
            WarpValidator(
                _public_key(each.public_key), each.weight, tuple(NodeID(node_id) for node_id in each.node_ids)
            )
            for each in answer.validators
        ),
        answer.total_weight,
    )


def _public_key(key: bytes) -> bytes:
    if len(key) != UNCOMPRESSED_PUBLIC_KEY_BYTES:
        raise InvalidPublicKey(
            f"couldn't deserialize public key: it has {len(key)} bytes, not {UNCOMPRESSED_PUBLIC_KEY_BYTES}"
        )
    return key
