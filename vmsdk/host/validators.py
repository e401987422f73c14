"""The service `validatorstate.ValidatorState`: what the P-chain knows about validators."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.validatorstate import validator_state_pb2 as pb
from vmsdk._pb.validatorstate.validator_state_grpc import ValidatorState
from vmsdk.errors import NotFound
from vmsdk.host.service import NodeService, ServiceError
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import CurrentValidator, Validator
from vmsdk.protocol import Protocol

_MAX_WEIGHT = 2**64 - 1


class ValidatorService(NodeService):
    """Serves heights, chains and validator sets that tests and developers set."""

    service = ValidatorState

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._lock = threading.RLock()
        self._heights = (0, 0)
        # The P-chain and the primary network have the same all-zero ID.
        self._subnets: dict[ID, ID] = {ID.EMPTY: ID.EMPTY}
        self._sets: dict[ID, dict[int, tuple[CurrentValidator, ...]]] = {}

    def served(self) -> Iterable[str]:
        absent = set()
        if not self._protocol.current_validators:
            absent.add("GetCurrentValidatorSet")
        if not self._protocol.warp_validator_sets:
            absent.add("GetWarpValidatorSets")
        if not self._protocol.warp_validator_set:
            absent.add("GetWarpValidatorSet")
        return [name for name in self.service.methods if name not in absent]

    # The P-chain ----------------------------------------------------------------------------------

    @property
    def minimum_height(self) -> int:
        """The height just below the recently accepted ones (`GetMinimumHeight`)."""
        return self._heights[0]

    @property
    def current_height(self) -> int:
        """The last accepted height."""
        return self._heights[1]

    def set_heights(self, *, current: int, minimum: int | None = None) -> None:
        """Set the P-chain's height, and the minimum height if it differs."""
        self._heights = (current if minimum is None else minimum, current)

    def add_chain(self, chain_id: ID, subnet_id: ID) -> None:
        """Add a chain of *subnet_id*."""
        with self._lock:
            self._subnets[chain_id] = subnet_id

    def subnet_of(self, chain_id: ID) -> ID:
        """Return the subnet of a chain. Raises `NotFound`."""
        with self._lock:
            subnet_id = self._subnets.get(chain_id)
        if subnet_id is None:
            raise NotFound
        return subnet_id

    def set_validators(
        self, subnet_id: ID, validators: Iterable[CurrentValidator], *, height: int | None = None
    ) -> None:
        """Set the validators of *subnet_id* from P-chain *height* on (default: the current one)."""
        with self._lock:
            since = self.current_height if height is None else height
            self._sets.setdefault(subnet_id, {})[since] = tuple(validators)

    def validators_at(self, height: int, subnet_id: ID) -> tuple[CurrentValidator, ...]:
        """Return the set at *height*, empty if unknown. Raises `ServiceError` if too high."""
        if height > self.current_height:
            raise ServiceError(
                f"failed to fetch validator set at unfinalized height with SubnetID = {subnet_id}: "
                f"current P-chain height ({self.current_height}) < requested P-Chain height ({height})"
            )
        with self._lock:
            history = self._sets.get(subnet_id, {})
            since = max((start for start in history if start <= height), default=None)
            return () if since is None else history[since]

    # The wire -------------------------------------------------------------------------------------

    def GetMinimumHeight(self, request: Empty) -> pb.GetMinimumHeightResponse:
        return pb.GetMinimumHeightResponse(height=self.minimum_height)

    def GetCurrentHeight(self, request: Empty) -> pb.GetCurrentHeightResponse:
        return pb.GetCurrentHeightResponse(height=self.current_height)

    def GetSubnetID(self, request: pb.GetSubnetIDRequest) -> pb.GetSubnetIDResponse:
        return pb.GetSubnetIDResponse(subnet_id=self.subnet_of(ID(request.chain_id)))

    def GetValidatorSet(self, request: pb.GetValidatorSetRequest) -> pb.GetValidatorSetResponse:
        validators = self.validators_at(request.height, ID(request.subnet_id))
        return pb.GetValidatorSetResponse(
            validators=[
                pb.Validator(node_id=one.node_id, weight=one.weight, public_key=one.public_key)
                for one in _active(validators)
            ]
        )

    def GetCurrentValidatorSet(
        self, request: pb.GetCurrentValidatorSetRequest
    ) -> pb.GetCurrentValidatorSetResponse:
        validators = self.validators_at(self.current_height, ID(request.subnet_id))
        return pb.GetCurrentValidatorSetResponse(
            validators=[
                pb.Validator(
                    node_id=one.node_id,
                    weight=one.weight,
                    public_key=one.public_key,
                    start_time=one.start_time,
                    min_nonce=one.min_nonce,
                    is_active=one.is_active,
                    validation_id=one.validation_id,
                    is_l1_validator=one.is_l1_validator,
                )
                for one in validators
            ],
            current_height=self.current_height,
        )

    def GetWarpValidatorSets(
        self, request: pb.GetWarpValidatorSetsRequest
    ) -> pb.GetWarpValidatorSetsResponse:
        response = pb.GetWarpValidatorSetsResponse()
        with self._lock:
            subnets = list(self._sets)
        for subnet_id in subnets:
            validators = self.validators_at(request.height, subnet_id)
            try:
                total_weight, canonical = _canonical(validators)
            except ServiceError:
                continue  # As in a node, a set whose weights overflow is left out.
            if validators:
                response.validator_sets.add(
                    subnet_id=subnet_id, total_weight=total_weight, validators=canonical
                )
        return response

    def GetWarpValidatorSet(self, request: pb.GetWarpValidatorSetRequest) -> pb.GetWarpValidatorSetResponse:
        total_weight, canonical = _canonical(self.validators_at(request.height, ID(request.subnet_id)))
        return pb.GetWarpValidatorSetResponse(total_weight=total_weight, validators=canonical)


def _active(validators: Iterable[CurrentValidator]) -> list[CurrentValidator]:
    """Return those in the set of a height, which has no L1 validator that can't pay."""
    return [one for one in validators if one.is_active]


def _canonical(validators: Iterable[CurrentValidator]) -> tuple[int, list[pb.WarpValidator]]:
    """Return the total weight, and the validators with a key, merged and sorted by its 96 bytes.

    Raises `ServiceError` if the weights exceed 64 bits.
    """
    active: list[Validator] = list(_active(validators))
    total_weight = sum(one.weight for one in active)
    if total_weight > _MAX_WEIGHT:
        raise ServiceError("overflow")
    by_key: dict[bytes, list[Validator]] = {}
    for one in active:
        if one.public_key:
            by_key.setdefault(one.public_key, []).append(one)
    return total_weight, [
        pb.WarpValidator(
            public_key=key,
            weight=sum(one.weight for one in holders),
            node_ids=sorted(NodeID(one.node_id) for one in holders),
        )
        for key, holders in sorted(by_key.items())
    ]
