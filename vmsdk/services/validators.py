"""The P-chain's validators, read from the node."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

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
from vmsdk.services.call import Call, unsigned
from vmsdk.services.channel import Channel

# Sources: the caches of the node's own VM library, snow/validators of protocol 45.
CACHED_HEIGHTS = 8
CACHED_SUBNETS = 4096

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class ValidatorStateClient(ValidatorState):
    """The validator state behind *channel*.

    Caches the subnets of 4096 chains and the warp validator sets of 8 heights: neither ever
    changes. A response with an ID or a key of the wrong length is a `NodeError`.
    """

    def __init__(self, channel: Channel, protocol: Protocol) -> None:
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
        response = self._validator_set(request)
        validators = _parsed(self._validator_set, _validators, response.validators)
        return {validator.node_id: validator for validator in validators}

    def get_current_validator_set(self, subnet_id: ID) -> CurrentValidatorSet:
        if not self._protocol.current_validators:
            raise NodeTooOld("GetCurrentValidatorSet", needs=38, has=self._protocol.version)
        response = self._current_set(pb.GetCurrentValidatorSetRequest(subnet_id=ID(subnet_id)))
        validators = _parsed(self._current_set, _current_validators, response.validators)
        return CurrentValidatorSet(
            {validator.validation_id: validator for validator in validators}, response.current_height
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
            # The node omits both unknown subnets and those whose weight overflows: find out which
            # it is.
        return WarpValidatorSet.of(self.get_validator_set(height, subnet_id).values())

    def _ask_subnet_id(self, chain_id: ID) -> ID:
        response = self._subnet_id(pb.GetSubnetIDRequest(chain_id=chain_id))
        return _parsed(self._subnet_id, ID, response.subnet_id)

    def _ask_warp_sets(self, height: int) -> dict[ID, WarpValidatorSet]:
        response = self._warp_sets(pb.GetWarpValidatorSetsRequest(height=height))
        return _parsed(self._warp_sets, _warp_sets, response.validator_sets)


def _height(value: int) -> int:
    return unsigned("a P-chain height", value, bits=64)


def _parsed(call: Call[Any, Any], parse: Callable[[Any], T], response: object) -> T:
    """*response*, converted by *parse*. An ID or key of the wrong length in it is a `NodeError`."""
    try:
        return parse(response)
    except InvalidInput as error:
        raise call.malformed(str(error)) from None


def _validators(response: Iterable[pb.Validator]) -> list[Validator]:
    return [
        Validator(NodeID(each.node_id), each.weight, _public_key(each.public_key) if each.public_key else b"")
        for each in response
    ]


def _current_validators(response: Iterable[pb.Validator]) -> list[CurrentValidator]:
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
        for each in response
    ]


def _warp_sets(response: Iterable[pb.WarpValidatorSet]) -> dict[ID, WarpValidatorSet]:
    return {ID(each.subnet_id): _warp_set(each) for each in response}


def _warp_set(response: pb.WarpValidatorSet | pb.GetWarpValidatorSetResponse) -> WarpValidatorSet:
    return WarpValidatorSet(
        tuple(
            WarpValidator(
                _public_key(each.public_key), each.weight, tuple(NodeID(node_id) for node_id in each.node_ids)
            )
            for each in response.validators
        ),
        response.total_weight,
    )


def _public_key(key: bytes) -> bytes:
    if len(key) != UNCOMPRESSED_PUBLIC_KEY_BYTES:
        raise InvalidPublicKey(
            f"couldn't deserialize public key: it has {len(key)} bytes, not {UNCOMPRESSED_PUBLIC_KEY_BYTES}"
        )
    return key


class Recent(Generic[K, V]):
    """A cache of the *size* most recently used keys. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, ask: Callable[[K], V]) -> V:
        """The value of *key*: the cached one, or the result of `ask(key)`. Errors aren't cached."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        response = ask(key)
        with self._lock:
            self._values[key] = response
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return response
