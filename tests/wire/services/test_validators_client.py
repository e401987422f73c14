from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.failing import fail_next
from tests.wire.services.node_starter import NodeStarter
from tests.wire.services.scripted_node import ScriptedNode, answers
from vmsdk._pb.validatorstate import validator_state_pb2 as pb
from vmsdk._pb.validatorstate.validator_state_grpc import ValidatorState as Methods
from vmsdk.errors import InvalidInput, NodeError, NodeTooOld, WeightOverflow
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import (
    CurrentValidator,
    Validator,
    ValidatorState,
    WarpValidator,
    WarpValidatorSet,
)
from vmsdk.protocol import NEWEST, protocol
from vmsdk.services.channel import connect
from vmsdk.services.node import NodeConnection
from vmsdk.services.validators import CACHED_HEIGHTS, ValidatorStateClient

SUBNET, OTHER_SUBNET, UNKNOWN_SUBNET = ID.of(b"subnet"), ID.of(b"other subnet"), ID.of(b"unknown")
LOW_KEY, HIGH_KEY = b"\x01" * 96, b"\x02" * 96
ALICE, BOB, CAROL, DAVE = (NodeID(name * 20) for name in (b"a", b"b", b"c", b"d"))
UINT64_MAX = 2**64 - 1

VALIDATORS = [
    CurrentValidator(ALICE, 1, HIGH_KEY, validation_id=ID.of(b"1"), start_time=1_700_000_000),
    CurrentValidator(BOB, 20, LOW_KEY, validation_id=ID.of(b"2"), min_nonce=3, is_l1_validator=True),
    CurrentValidator(CAROL, 300, HIGH_KEY, validation_id=ID.of(b"3")),
    CurrentValidator(DAVE, 4000, validation_id=ID.of(b"4")),
]
CANONICAL = WarpValidatorSet(
    (WarpValidator(LOW_KEY, 20, (BOB,)), WarpValidator(HIGH_KEY, 301, (ALICE, CAROL))), 4321
)


def let_there_be_validators(services: NodeServices) -> None:
    services.validators.set_heights(current=100, minimum=90)
    services.validators.set_validators(SUBNET, VALIDATORS, height=50)


@pytest.fixture
def validators(services: NodeServices, connection: NodeConnection) -> ValidatorState:
    let_there_be_validators(services)
    return connection.validators


def test_heights_are_the_p_chains(validators: ValidatorState) -> None:
    assert (validators.get_minimum_height(), validators.get_current_height()) == (90, 100)


def test_the_subnet_of_a_chain_is_asked_once(services: NodeServices, validators: ValidatorState) -> None:
    for _ in range(2):
        assert validators.get_subnet_id(services.config.chain_id) == services.config.subnet_id
    assert validators.get_subnet_id(ID.EMPTY) == ID.EMPTY
    assert services.validators.calls["GetSubnetID"] == 2


def test_an_unknown_chain_is_an_error_each_time(services: NodeServices, validators: ValidatorState) -> None:
    for _ in range(2):
        with pytest.raises(NodeError, match=r"^not found$"):
            validators.get_subnet_id(ID.of(b"unknown chain"))
    assert services.validators.calls["GetSubnetID"] == 2


def test_edge_82_a_key_is_96_bytes_or_empty(validators: ValidatorState) -> None:
    assert validators.get_validator_set(50, SUBNET) == {
        ALICE: Validator(ALICE, 1, HIGH_KEY),
        BOB: Validator(BOB, 20, LOW_KEY),
        CAROL: Validator(CAROL, 300, HIGH_KEY),
        DAVE: Validator(DAVE, 4000, b""),
    }


def test_an_unknown_subnet_has_no_validators(validators: ValidatorState) -> None:
    assert validators.get_validator_set(50, UNKNOWN_SUBNET) == {}


def test_a_height_above_the_current_one_is_the_nodes_error(validators: ValidatorState) -> None:
    for ask in (
        lambda: validators.get_validator_set(101, SUBNET),
        lambda: validators.get_warp_validator_sets(101),
        lambda: validators.get_warp_validator_set(101, SUBNET),
    ):
        with pytest.raises(NodeError, match="unfinalized height"):
            ask()


def test_current_validators_come_by_validation_with_all_fields(validators: ValidatorState) -> None:
    current = validators.get_current_validator_set(SUBNET)
    assert current.height == 100
    assert current.validators == {validator.validation_id: validator for validator in VALIDATORS}


@pytest.mark.parametrize("version", [35, 37])
def test_until_protocol_37_there_are_no_current_validators(start_node: NodeStarter, version: int) -> None:
    services, connection = start_node(version)
    with pytest.raises(NodeTooOld, match="needs a node of protocol 38 or newer") as caught:
        connection.validators.get_current_validator_set(SUBNET)
    assert caught.value.has == version
    assert not services.validators.calls


@pytest.mark.parametrize("version", [35, 43])
def test_until_protocol_43_there_are_no_warp_validator_sets_of_all_subnets(
    start_node: NodeStarter, version: int
) -> None:
    services, connection = start_node(version)
    with pytest.raises(NodeTooOld, match="needs a node of protocol 44 or newer"):
        connection.validators.get_warp_validator_sets(50)
    assert not services.validators.calls


@pytest.mark.parametrize(
    ("version", "method"),
    [
        (35, "GetValidatorSet"),
        (43, "GetValidatorSet"),
        (44, "GetWarpValidatorSet"),
        (45, "GetWarpValidatorSets"),
        (46, "GetWarpValidatorSets"),
    ],
)
def test_edge_82_the_canonical_set_is_the_same_on_every_protocol_by_one_call(
    start_node: NodeStarter, version: int, method: str
) -> None:
    services, connection = start_node(version)
    let_there_be_validators(services)
    assert connection.validators.get_warp_validator_set(50, SUBNET) == CANONICAL
    assert services.validators.calls == {method: 1}


@pytest.mark.parametrize("version", [35, 44, 45])
def test_the_canonical_set_of_an_unknown_subnet_is_empty(start_node: NodeStarter, version: int) -> None:
    services, connection = start_node(version)
    let_there_be_validators(services)
    assert connection.validators.get_warp_validator_set(50, UNKNOWN_SUBNET) == WarpValidatorSet((), 0)


@pytest.mark.parametrize(("version", "error"), [(35, WeightOverflow), (44, NodeError), (45, WeightOverflow)])
def test_a_subnet_whose_weights_overflow_has_no_canonical_set(
    start_node: NodeStarter, version: int, error: type[Exception]
) -> None:
    services, connection = start_node(version)
    let_there_be_validators(services)
    too_heavy = [CurrentValidator(ALICE, UINT64_MAX), CurrentValidator(BOB, 1)]
    services.validators.set_validators(OTHER_SUBNET, too_heavy, height=50)
    with pytest.raises(error, match="overflow"):
        connection.validators.get_warp_validator_set(50, OTHER_SUBNET)
    assert connection.validators.get_warp_validator_set(50, SUBNET) == CANONICAL


def test_the_sets_of_the_last_heights_are_remembered(
    services: NodeServices, validators: ValidatorState
) -> None:
    heights = range(50, 50 + CACHED_HEIGHTS)
    for _ in range(2):
        for height in heights:
            assert validators.get_warp_validator_sets(height)[SUBNET] == CANONICAL
            assert validators.get_warp_validator_set(height, SUBNET) == CANONICAL
    assert services.validators.calls["GetWarpValidatorSets"] == CACHED_HEIGHTS
    validators.get_warp_validator_sets(heights.stop)  # displaces the first
    validators.get_warp_validator_sets(heights.start)
    assert services.validators.calls["GetWarpValidatorSets"] == CACHED_HEIGHTS + 2


def test_what_a_caller_does_to_an_answer_does_not_change_the_next(validators: ValidatorState) -> None:
    validators.get_warp_validator_sets(50).clear()
    assert validators.get_warp_validator_sets(50) == {SUBNET: CANONICAL}


def test_a_height_that_failed_is_asked_again(services: NodeServices, validators: ValidatorState) -> None:
    fail_next(services.validators, "GetWarpValidatorSets", "busy")
    with pytest.raises(NodeError, match=r"^busy$"):
        validators.get_warp_validator_sets(50)
    assert validators.get_warp_validator_sets(50) == {SUBNET: CANONICAL}


def test_what_can_not_be_a_height_or_an_id_is_refused_and_nothing_is_sent(
    services: NodeServices, validators: ValidatorState
) -> None:
    wrong: ID = bytes(20)  # type: ignore[assignment]
    for ask in (
        lambda: validators.get_subnet_id(wrong),
        lambda: validators.get_validator_set(1, wrong),
        lambda: validators.get_current_validator_set(wrong),
    ):
        with pytest.raises(InvalidInput):
            ask()
    for height in (-1, UINT64_MAX + 1):
        for ask_at in (
            lambda height=height: validators.get_validator_set(height, SUBNET),
            lambda height=height: validators.get_warp_validator_sets(height),
        ):
            with pytest.raises(InvalidInput, match="a P-chain height"):
                ask_at()
    assert not services.validators.calls


NODE_ID, KEY, ID_32 = bytes(20), bytes(96), bytes(32)
TOO_LONG_KEY = pb.WarpValidator(public_key=bytes(97), weight=1)


@pytest.mark.parametrize(
    ("method", "answer", "ask"),
    [
        (
            Methods.GetSubnetID,
            pb.GetSubnetIDResponse(subnet_id=bytes(31)),
            lambda it: it.get_subnet_id(SUBNET),
        ),
        (
            Methods.GetValidatorSet,
            pb.GetValidatorSetResponse(validators=[pb.Validator(node_id=bytes(19))]),
            lambda it: it.get_validator_set(1, SUBNET),
        ),
        (
            Methods.GetValidatorSet,
            pb.GetValidatorSetResponse(validators=[pb.Validator(node_id=NODE_ID, public_key=bytes(48))]),
            lambda it: it.get_validator_set(1, SUBNET),
        ),
        (
            Methods.GetCurrentValidatorSet,
            pb.GetCurrentValidatorSetResponse(validators=[pb.Validator(node_id=NODE_ID)]),
            lambda it: it.get_current_validator_set(SUBNET),
        ),
        (
            Methods.GetWarpValidatorSets,
            pb.GetWarpValidatorSetsResponse(validator_sets=[pb.WarpValidatorSet()]),
            lambda it: it.get_warp_validator_sets(1),
        ),
        (
            Methods.GetWarpValidatorSets,
            pb.GetWarpValidatorSetsResponse(
                validator_sets=[pb.WarpValidatorSet(subnet_id=ID_32, validators=[TOO_LONG_KEY])]
            ),
            lambda it: it.get_warp_validator_set(1, SUBNET),
        ),
        (
            Methods.GetWarpValidatorSets,
            pb.GetWarpValidatorSetsResponse(
                validator_sets=[
                    pb.WarpValidatorSet(
                        subnet_id=ID_32, validators=[pb.WarpValidator(public_key=KEY, node_ids=[b""])]
                    )
                ]
            ),
            lambda it: it.get_warp_validator_sets(1),
        ),
    ],
)
def test_an_id_or_a_key_of_the_wrong_length_is_an_error_of_the_node(
    method: Any, answer: Any, ask: Callable[[ValidatorState], object]
) -> None:
    with ScriptedNode({method: answers(answer)}) as node, connect(node.address) as channel:
        client = ValidatorStateClient(channel, protocol(NEWEST))
        with pytest.raises(NodeError, match=r"^malformed response of ") as caught:
            ask(client)
    assert (caught.value.method, caught.value.code) == (method.path, "INTERNAL")


def test_a_key_of_the_wrong_length_in_the_set_of_one_subnet_is_an_error_of_the_node() -> None:
    answer = answers(pb.GetWarpValidatorSetResponse(validators=[TOO_LONG_KEY]))
    with (
        ScriptedNode({Methods.GetWarpValidatorSet: answer}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError, match="couldn't deserialize public key: it has 97 bytes, not 96"),
    ):
        ValidatorStateClient(channel, protocol(44)).get_warp_validator_set(1, SUBNET)
