"""Peers, validators, and handlers that only some peers may use."""

from __future__ import annotations

import logging

import pytest

from vmsdk.errors import AppError
from vmsdk.ids import NodeID
from vmsdk.p2p import Handler, Peers, SlidingWindow, Throttled, Validators, ValidatorsOnly
from vmsdk.p2p.throttler import MAX_TRACKED_PEERS
from vmsdk.timestamp import Timestamp

from .nodes import VERSION, Clock, Node, node_id

DEADLINE = Timestamp(5)


class Counting(Handler):
    def __init__(self) -> None:
        self.messages = 0

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        self.messages += 1
        return request

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        self.messages += 1


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


# Peers -------------------------------------------------------------------------------------------


def test_peers_are_those_that_are_connected(peers: Peers) -> None:
    peers.connected(node_id(1), VERSION)
    peers.connected(node_id(2), VERSION)
    peers.disconnected(node_id(1))
    peers.disconnected(node_id(3))
    assert (node_id(1) in peers, node_id(2) in peers, len(peers)) == (False, True, 1)
    assert (peers.version(node_id(2)), peers.version(node_id(1))) == (VERSION, None)


def test_a_sample_of_peers_holds_each_once(peers: Peers) -> None:
    everyone = {node_id(number) for number in range(10)}
    for peer in everyone:
        peers.connected(peer, VERSION)
    assert len(set(peers.sample(4))) == 4
    assert set(peers.sample(50)) == everyone
    assert Peers().sample(1) == []


# Validators --------------------------------------------------------------------------------------


def test_a_validator_counts_once_it_is_connected(peers: Peers) -> None:
    validators = Validators(Node({node_id(1): 5, node_id(2): 5}).context(), peers)
    peers.connected(node_id(1), VERSION)
    peers.connected(node_id(3), VERSION)
    assert [node_id(number) in validators for number in (1, 2, 3)] == [True, False, False]
    assert len(validators) == 1
    assert validators.sample(9) == [node_id(1)]
    peers.disconnected(node_id(1))
    assert (len(validators), validators.sample(1)) == (0, [])


def test_inactive_validators_are_left_out(peers: Peers) -> None:
    validators = Validators(Node({NodeID.EMPTY: 5, node_id(1): 1}).context(), peers)
    assert validators.top(100) == [node_id(1)]


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, []), (1, [3]), (50, [3]), (51, [3, 1]), (81, [3, 1, 2]), (100, [3, 1, 2])]
)
def test_the_top_validators_hold_the_stake_together(peers: Peers, percent: int, expected: list[int]) -> None:
    weights = {node_id(2): 20, node_id(1): 30, node_id(3): 50}
    validators = Validators(Node(weights).context(), peers)
    assert validators.top(percent) == [node_id(number) for number in expected]


def test_validators_are_fetched_again_when_they_are_old(peers: Peers, clock: Clock) -> None:
    node = Node({node_id(1): 1})
    validators = Validators(node.context(), peers, clock=clock)
    assert validators.top(100) == [node_id(1)]
    node.weights = {node_id(2): 1}
    clock.now += 59
    assert validators.top(100) == [node_id(1)]
    clock.now += 1
    assert validators.top(100) == [node_id(2)]
    assert node.fetched == 2


def test_the_old_validators_stay_while_the_node_fails(
    peers: Peers, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node({node_id(1): 1})
    validators = Validators(node.context(), peers, clock=clock)
    validators.top(100)
    node.refuses = True
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        clock.now += 60
        assert validators.top(100) == [node_id(1)]
    assert caplog.text.count("the node refuses") == 1
    node.refuses = False
    node.weights = {}
    clock.now += 5
    assert validators.top(100) == []


def test_only_validators_reach_the_handler(peers: Peers) -> None:
    inner = Counting()
    handler = ValidatorsOnly(inner, Validators(Node({node_id(1): 5}).context(), peers))
    peers.connected(node_id(1), VERSION)
    peers.connected(node_id(2), VERSION)
    assert handler.app_request(node_id(1), DEADLINE, b"ask") == b"ask"
    handler.app_gossip(node_id(1), b"")
    with pytest.raises(AppError) as raised:
        handler.app_request(node_id(2), DEADLINE, b"")
    assert (raised.value.code, raised.value.message) == (-3, "not a validator")
    handler.app_gossip(node_id(2), b"")
    assert inner.messages == 2


# Throttling --------------------------------------------------------------------------------------


def test_each_peer_has_a_limit_of_its_own(clock: Clock) -> None:
    window = SlidingWindow(10, 2, clock=clock)
    assert [window.allow(node_id(1)) for _ in range(3)] == [True, True, False]
    assert window.allow(node_id(2))


# What network/p2p/throttler_test.go expects of the same steps.
def test_the_last_period_counts_as_far_as_it_overlaps(clock: Clock) -> None:
    window = SlidingWindow(10, 4, clock=clock)
    assert [window.allow(node_id(1)) for _ in range(5)] == [True] * 4 + [False]
    clock.now += 10
    assert not window.allow(node_id(1))  # all of the 5 still count
    clock.now += 5
    assert window.allow(node_id(1))  # 1 now, and half of 5
    assert not window.allow(node_id(1))
    clock.now += 20
    assert [window.allow(node_id(1)) for _ in range(5)] == [True] * 4 + [False]


def test_a_limit_may_change(clock: Clock) -> None:
    limits = [0, 1, 3]
    window = SlidingWindow(10, lambda: limits.pop(0), clock=clock)
    assert [window.allow(node_id(1)) for _ in range(3)] == [False, False, True]


def test_countless_peers_take_bounded_memory(clock: Clock) -> None:
    window = SlidingWindow(10, 2, clock=clock)
    for number in range(MAX_TRACKED_PEERS + 50):
        window.allow(node_id(number))
    assert len(window._current) == MAX_TRACKED_PEERS


def test_a_throttled_peer_does_not_reach_the_handler(clock: Clock) -> None:
    inner = Counting()
    handler = Throttled(inner, SlidingWindow(10, 2, clock=clock))
    handler.app_request(node_id(1), DEADLINE, b"")
    handler.app_gossip(node_id(1), b"")
    with pytest.raises(AppError) as raised:
        handler.app_request(node_id(1), DEADLINE, b"")
    assert (raised.value.code, raised.value.message) == (-4, "throttled")
    handler.app_gossip(node_id(1), b"")
    assert inner.messages == 2
