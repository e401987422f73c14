"""The service `validatorstate.ValidatorState`, over the wire."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from tests.wire.host.rawstub import RawStub, error_of
from vmsdk._pb._service import Service
from vmsdk._pb.validatorstate import validator_state_pb2 as pb
from vmsdk._pb.validatorstate.validator_state_grpc import ValidatorState
from vmsdk.host.identity import NodeIdentity
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import CurrentValidator

UNKNOWN, UNIMPLEMENTED = grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED
SUBNET = ID(bytes(range(32)))
LOW_KEY, HIGH_KEY = b"\x01" + bytes(95), b"\x02" + bytes(95)

MakeStub = Callable[[str, type[Service]], RawStub]


def node(number: int) -> NodeID:
    return NodeID(bytes(19) + bytes([number]))


@pytest.fixture
def state(services: NodeServices, stub: MakeStub) -> RawStub:
    return stub(services.address, ValidatorState)


def test_heights_are_those_that_were_set(services: NodeServices, state: RawStub) -> None:
    services.validators.set_heights(current=12, minimum=10)
    assert state.GetCurrentHeight(Empty()).height == 12
    assert state.GetMinimumHeight(Empty()).height == 10


def test_a_chain_knows_its_subnet_and_the_p_chain_its_own(services: NodeServices, state: RawStub) -> None:
    config = services.config
    assert state.GetSubnetID(pb.GetSubnetIDRequest(chain_id=config.chain_id)).subnet_id == config.subnet_id
    assert state.GetSubnetID(pb.GetSubnetIDRequest(chain_id=bytes(32))).subnet_id == bytes(32)
    assert state.GetSubnetID(pb.GetSubnetIDRequest(chain_id=config.x_chain_id)).subnet_id == bytes(32)


def test_an_unknown_chain_has_no_subnet(state: RawStub) -> None:
    assert error_of(state.GetSubnetID, pb.GetSubnetIDRequest(chain_id=b"\xff" * 32)) == (UNKNOWN, "not found")


def test_edge_82_a_key_is_96_bytes_or_empty_and_the_later_fields_are_unset(
    services: NodeServices, state: RawStub
) -> None:
    key = NodeIdentity().uncompressed_public_key
    assert len(key) == 96
    services.validators.set_validators(
        SUBNET,
        [CurrentValidator(node(1), 10, key, start_time=99, min_nonce=3), CurrentValidator(node(2), 20)],
    )
    answer = state.GetValidatorSet(pb.GetValidatorSetRequest(subnet_id=SUBNET))
    by_node = {one.node_id: one for one in answer.validators}
    assert by_node[node(1)] == pb.Validator(node_id=node(1), weight=10, public_key=key)
    assert by_node[node(2)] == pb.Validator(node_id=node(2), weight=20)


def test_edge_82_warp_sets_are_in_the_order_of_the_keys(services: NodeServices, state: RawStub) -> None:
    services.validators.set_validators(
        SUBNET,
        [
            CurrentValidator(node(1), 5, HIGH_KEY),
            CurrentValidator(node(2), 7),
            CurrentValidator(node(3), 11, LOW_KEY),
            CurrentValidator(node(4), 13, HIGH_KEY),
        ],
    )
    answer = state.GetWarpValidatorSets(pb.GetWarpValidatorSetsRequest(height=0))
    assert list(answer.validator_sets) == [
        pb.WarpValidatorSet(
            subnet_id=SUBNET,
            total_weight=36,
            validators=[
                pb.WarpValidator(public_key=LOW_KEY, weight=11, node_ids=[node(3)]),
                pb.WarpValidator(public_key=HIGH_KEY, weight=18, node_ids=[node(1), node(4)]),
            ],
        )
    ]


def test_a_set_holds_from_its_height_on(services: NodeServices, state: RawStub) -> None:
    services.validators.set_heights(current=9)
    services.validators.set_validators(SUBNET, [CurrentValidator(node(1), 1)], height=3)
    services.validators.set_validators(SUBNET, [CurrentValidator(node(2), 2)], height=7)

    def nodes_at(height: int) -> list[bytes]:
        request = pb.GetValidatorSetRequest(height=height, subnet_id=SUBNET)
        return [one.node_id for one in state.GetValidatorSet(request).validators]

    assert [nodes_at(height) for height in (2, 3, 6, 7, 9)] == [
        [],
        [node(1)],
        [node(1)],
        [node(2)],
        [node(2)],
    ]


def test_a_height_above_the_current_one_is_an_error(services: NodeServices, state: RawStub) -> None:
    services.validators.set_heights(current=4)
    code, details = error_of(state.GetValidatorSet, pb.GetValidatorSetRequest(height=5, subnet_id=SUBNET))
    assert code is UNKNOWN
    assert "current P-chain height (4) < requested P-Chain height (5)" in details


def test_an_unknown_subnet_has_no_validators(state: RawStub) -> None:
    answer = state.GetValidatorSet(pb.GetValidatorSetRequest(subnet_id=b"\xff" * 32))
    assert list(answer.validators) == []


def test_the_current_set_has_all_fields_and_the_height(services: NodeServices, state: RawStub) -> None:
    services.validators.set_heights(current=8)
    l1 = CurrentValidator(
        node(1),
        10,
        LOW_KEY,
        ID(b"\x07" * 32),
        start_time=99,
        min_nonce=3,
        is_active=False,
        is_l1_validator=True,
    )
    services.validators.set_validators(SUBNET, [l1])
    answer = state.GetCurrentValidatorSet(pb.GetCurrentValidatorSetRequest(subnet_id=SUBNET))
    assert answer.current_height == 8
    assert list(answer.validators) == [
        pb.Validator(
            node_id=node(1),
            weight=10,
            public_key=LOW_KEY,
            start_time=99,
            min_nonce=3,
            is_active=False,
            validation_id=b"\x07" * 32,
            is_l1_validator=True,
        )
    ]


def test_a_subnet_whose_weights_overflow_is_left_out_of_the_warp_sets(
    services: NodeServices, state: RawStub
) -> None:
    services.validators.set_validators(SUBNET, [CurrentValidator(node(n), 2**63, LOW_KEY) for n in (1, 2)])
    assert list(state.GetWarpValidatorSets(pb.GetWarpValidatorSetsRequest()).validator_sets) == []


@pytest.mark.parametrize("length", [0, 20])
def test_ids_of_the_wrong_length_are_errors(state: RawStub, length: int) -> None:
    expected = (UNKNOWN, f"invalid hash length: expected 32 bytes but got {length}")
    assert error_of(state.GetSubnetID, pb.GetSubnetIDRequest(chain_id=bytes(length))) == expected
    assert error_of(state.GetValidatorSet, pb.GetValidatorSetRequest(subnet_id=bytes(length))) == expected
    request = pb.GetCurrentValidatorSetRequest(subnet_id=bytes(length))
    assert error_of(state.GetCurrentValidatorSet, request) == expected


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        (37, {"GetCurrentValidatorSet", "GetWarpValidatorSets", "GetWarpValidatorSet"}),
        (38, {"GetWarpValidatorSets", "GetWarpValidatorSet"}),
        (43, {"GetWarpValidatorSets", "GetWarpValidatorSet"}),
        (44, set()),
        (45, {"GetWarpValidatorSet"}),
    ],
)
def test_a_protocol_that_lacks_a_method_returns_unimplemented(
    start_services: Callable[..., NodeServices], stub: MakeStub, version: int, absent: set[str]
) -> None:
    state = stub(start_services(version).address, ValidatorState)
    unimplemented = set()
    for name, method in ValidatorState.methods.items():
        try:
            getattr(state, name)(method.request())
        except grpc.RpcError as error:
            if error.code() is UNIMPLEMENTED:
                unimplemented.add(name)
    assert unimplemented == absent


def test_protocol_44_gives_one_subnets_canonical_set(
    start_services: Callable[..., NodeServices], stub: MakeStub
) -> None:
    services = start_services(44)
    state = stub(services.address, ValidatorState)
    services.validators.set_validators(SUBNET, [CurrentValidator(node(1), 5, HIGH_KEY)])
    answer = state.GetWarpValidatorSet(pb.GetWarpValidatorSetRequest(subnet_id=SUBNET))
    assert (answer.total_weight, [one.public_key for one in answer.validators]) == (5, [HIGH_KEY])
    empty = state.GetWarpValidatorSet(pb.GetWarpValidatorSetRequest(subnet_id=b"\xff" * 32))
    assert (empty.total_weight, list(empty.validators)) == (0, [])
