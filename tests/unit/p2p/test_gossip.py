"""Push and pull gossip between sets: each test delivers the messages and moves the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import pytest

from vmsdk._pb.sdk.sdk_pb2 import PullGossipRequest, PullGossipResponse, PushGossip
from vmsdk.errors import AppError
from vmsdk.ids import ID, NodeID
from vmsdk.p2p import Gossip, Network
from vmsdk.p2p.bloom import Filter, hash_of
from vmsdk.p2p.gossip import MAX_QUEUED_ITEMS, MAX_REFUSALS, MAX_STRANGERS_PULLS, TARGET_MESSAGE_BYTES
from vmsdk.timestamp import Timestamp

from .nodes import OWN, VERSION, Clock, Node, node_id

PEER, STRANGER = node_id(1), node_id(2)
DEADLINE = Timestamp(5)


class Set:
    """Takes every item that does not start with `bad`."""

    def __init__(self, raws: Iterable[bytes] = ()) -> None:
        self.items = {ID.of(raw): raw for raw in raws}
        self.offered: list[bytes] = []

    def add(self, raw: bytes) -> bool:
        self.offered.append(raw)
        if raw.startswith(b"bad"):
            return False
        self.items[ID.of(raw)] = raw
        return True

    def has(self, item_id: ID) -> bool:
        return item_id in self.items

    def raws(self) -> Sequence[bytes]:
        return list(self.items.values())


class Chain:
    """A chain of one validator, PEER, this node, and a STRANGER."""

    def __init__(
        self,
        raws: Iterable[bytes] = (),
        validators: Iterable[NodeID] = (PEER,),
        is_wanted: Callable[[ID], bool] | None = None,
    ) -> None:
        self.threads_before = set(threading.enumerate())
        self.clock = Clock()
        self.node = Node(dict.fromkeys(validators, 1))
        self.network = Network(self.node.context(), clock=self.clock)
        self.items = Set(raws)
        self.gossip = Gossip(self.network, self.items, is_wanted=is_wanted, clock=self.clock)
        for peer in (PEER, STRANGER, OWN):
            self.network.connected(peer, VERSION)

    def submit(self, *raws: bytes) -> None:
        for raw in raws:
            assert self.items.add(raw)
            self.gossip.added(ID.of(raw), raw, push=True)

    def step(self, seconds: float = 0) -> list[list[bytes]]:
        """Let the time pass, and return the items of each message that is then pushed."""
        self.clock.now += seconds
        del self.node.gossip[:]
        self.gossip.step()
        messages = []
        for sent in self.node.gossip:
            assert sent.message[0] == 0
            messages.append(list(PushGossip.FromString(sent.message[1:]).gossip))
        return messages

    def pulled(self) -> PullGossipRequest:
        """The one request that was sent since the last call."""
        (request,) = self.node.requests
        self.node.requests.clear()
        assert request.request[0] == 0
        return PullGossipRequest.FromString(request.request[1:])

    def ask(self, request: bytes, node_id: NodeID = PEER) -> list[bytes]:
        return list(PullGossipResponse.FromString(self.gossip.app_request(node_id, DEADLINE, request)).gossip)


def pull_request(known: Iterable[bytes] = (), salt: bytes = bytes(32)) -> bytes:
    has = Filter.sized(10_000, 0.000_1)
    for raw in known:
        has.add(hash_of(ID.of(raw), salt))
    return PullGossipRequest(salt=salt, filter=bytes(has)).SerializeToString()


def push(*raws: bytes) -> bytes:
    return PushGossip(gossip=raws).SerializeToString()


def numbered(count: int, size: int) -> list[bytes]:
    return [number.to_bytes(size, "big") for number in range(count)]


# Pushing -----------------------------------------------------------------------------------------


def test_new_items_go_to_validators_in_one_message() -> None:
    chain = Chain()
    chain.submit(b"one", b"two")
    assert chain.step() == [[b"one", b"two"]]
    assert (chain.node.gossip[0].node_ids, chain.node.gossip[0].validators) == ((PEER,), 100)
    assert chain.step() == []


def test_a_validator_does_not_push_to_itself() -> None:
    chain = Chain(validators=[PEER, OWN])
    chain.submit(b"one")
    assert chain.step() == [[b"one"]]
    assert chain.node.gossip[0].node_ids == (PEER,)


def test_an_item_that_was_just_pushed_is_not_pushed_again() -> None:
    chain = Chain()
    chain.submit(b"one")
    chain.step()
    chain.submit(b"one")
    assert chain.step() == []


def test_without_validators_new_items_go_to_peers() -> None:
    chain = Chain(validators=[])
    chain.submit(b"one")
    assert chain.step() == [[b"one"]]
    assert (chain.node.gossip[0].node_ids, chain.node.gossip[0].peers) == ((), 100)


@pytest.mark.parametrize("validators", [[], [OWN]])
def test_a_node_that_is_alone_sends_nothing(validators: list[NodeID]) -> None:
    chain = Chain(validators=validators)
    for peer in (PEER, STRANGER):
        chain.network.disconnected(peer)
    chain.submit(b"one")
    assert chain.step() == []
    assert chain.node.requests == []


def test_an_item_is_pushed_again_while_it_stays_in_the_set() -> None:
    chain = Chain()
    chain.submit(b"stays", b"leaves")
    chain.step()
    assert chain.step(29) == []
    del chain.items.items[ID.of(b"leaves")]
    assert chain.step(1) == [[b"stays"]]
    assert chain.node.gossip[0].validators == 10
    assert chain.step(29) == []
    assert chain.step(1) == [[b"stays"]]


def test_an_item_that_left_before_the_push_is_not_sent() -> None:
    chain = Chain()
    chain.submit(b"leaves")
    chain.items.items.clear()
    assert chain.step() == []


def test_an_item_of_a_peer_is_not_pushed() -> None:
    chain = Chain()
    chain.gossip.app_gossip(PEER, push(b"one"))
    assert chain.items.raws() == [b"one"]
    assert chain.step() == []


def test_many_items_go_in_messages_of_bounded_size() -> None:
    chain = Chain()
    raws = numbered(200, 1000)
    chain.submit(*raws)
    messages = chain.step()
    assert [raw for message in messages for raw in message] == raws
    assert all(sum(map(len, message)) <= TARGET_MESSAGE_BYTES for message in messages)
    assert len(messages) == 4


def test_a_large_item_has_a_message_of_its_own() -> None:
    chain = Chain()
    large = bytes(2 * TARGET_MESSAGE_BYTES)
    chain.submit(b"small", large, b"last")
    assert chain.step() == [[b"small"], [large], [b"last"]]


def test_the_oldest_of_too_many_items_are_not_pushed() -> None:
    chain = Chain()
    raws = numbered(MAX_QUEUED_ITEMS + 5, 4)
    chain.submit(*raws)
    assert [raw for message in chain.step() for raw in message] == raws[5:]


def test_large_items_that_wait_take_bounded_memory() -> None:
    chain = Chain()
    raws = [bytes([number]) * 1024 * 1024 for number in range(20)]
    chain.submit(*raws)
    assert [raw for message in chain.step() for raw in message] == raws[4:]


def test_a_node_that_refuses_to_send_is_survived() -> None:
    chain = Chain()
    chain.step()
    chain.submit(b"one")
    chain.node.refuses = True
    assert chain.step(1) == []
    chain.node.refuses = False
    assert chain.step(30) == [[b"one"]]


# Pulling -----------------------------------------------------------------------------------------


def test_a_validator_is_asked_once_a_second_for_what_is_missing() -> None:
    chain = Chain([b"had"])
    chain.step()
    pull = chain.pulled()
    assert hash_of(ID.of(b"had"), pull.salt) in Filter.from_bytes(pull.filter)
    assert hash_of(ID.of(b"missing"), pull.salt) not in Filter.from_bytes(pull.filter)
    chain.step(0.5)
    assert chain.node.requests == []
    chain.step(0.5)
    assert chain.node.requests[0].node_id == PEER


def test_items_added_later_are_in_the_filter() -> None:
    chain = Chain()
    chain.step()
    chain.pulled()
    chain.submit(b"submitted")
    chain.gossip.app_gossip(PEER, push(b"pushed"))
    chain.step(1)
    pull = chain.pulled()
    for raw in (b"submitted", b"pushed"):
        assert hash_of(ID.of(raw), pull.salt) in Filter.from_bytes(pull.filter)


def test_an_item_that_is_known_but_not_wanted_is_not_in_the_filter_and_a_refused_one_is() -> None:
    accepted = ID.of(b"accepted")
    chain = Chain(is_wanted=lambda item_id: item_id != accepted)
    chain.step()
    chain.pulled()
    chain.submit(b"accepted")
    chain.gossip.app_gossip(PEER, push(b"bad"))
    chain.step(1)
    pull = chain.pulled()
    known = Filter.from_bytes(pull.filter)
    assert hash_of(accepted, pull.salt) not in known
    assert hash_of(ID.of(b"bad"), pull.salt) in known


def test_the_filter_gets_a_new_salt_in_time_and_forgets_what_has_left() -> None:
    chain = Chain([b"leaves"])
    chain.step()
    first = chain.pulled()
    chain.items.items.clear()
    chain.step(29)
    assert chain.pulled() == first
    chain.step(1)
    second = chain.pulled()
    assert second.salt != first.salt
    assert hash_of(ID.of(b"leaves"), second.salt) not in Filter.from_bytes(second.filter)


def test_a_filter_that_gets_too_full_is_replaced_by_a_larger_one() -> None:
    chain = Chain()
    chain.step()
    first = chain.pulled()
    chain.submit(*numbered(3000, 4))
    chain.step(1)
    assert len(chain.pulled().filter) > 4 * len(first.filter)


def test_the_response_to_a_pull_is_added() -> None:
    chain = Chain([b"had"])
    chain.step()
    response = PullGossipResponse(gossip=[b"had", b"bad", b"missing"]).SerializeToString()
    chain.network.app_response(PEER, 1, response)
    assert chain.items.offered == [b"bad", b"missing"]
    assert b"missing" in chain.items.raws()


def test_a_refused_item_is_not_pulled_again_for_a_while() -> None:
    chain = Chain()
    chain.step()
    chain.gossip.app_gossip(PEER, push(b"bad"))
    chain.node.requests.clear()
    for seconds, is_known in ((1, True), (30, False)):
        chain.step(seconds)
        pull = chain.pulled()
        assert (hash_of(ID.of(b"bad"), pull.salt) in Filter.from_bytes(pull.filter)) == is_known


@pytest.mark.parametrize(
    "respond",
    [
        lambda network: network.app_response(PEER, 1, b"\xff\xff"),
        lambda network: network.app_request_failed(PEER, 1, AppError(-1, "timed out")),
    ],
    ids=["garbage", "failure"],
)
def test_a_pull_may_fail(respond: Callable[[Network], None], caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    chain.step()
    respond(chain.network)
    assert chain.items.offered == []
    assert caplog.records == []


def test_without_validators_a_peer_is_asked() -> None:
    chain = Chain(validators=[])
    asked: set[NodeID] = set()
    for _ in range(50):
        chain.step(1)
        asked.update(request.node_id for request in chain.node.requests)
    assert asked == {PEER, STRANGER}


def test_a_validator_leaves_out_the_rounds_in_which_it_would_ask_itself() -> None:
    chain = Chain(validators=[OWN])
    for _ in range(20):
        chain.step(1)
    assert chain.node.requests == []


# Responding --------------------------------------------------------------------------------------


def test_a_peer_gets_what_its_filter_lacks_in_order() -> None:
    raws = numbered(50, 8)
    chain = Chain(raws)
    for _ in range(10):
        assert chain.ask(pull_request(raws[10:40])) == raws[:10] + raws[40:]


def test_a_new_peer_gets_everything_by_and_by() -> None:
    raws = numbered(300, 1000)
    chain = Chain(raws)
    has: set[bytes] = set()
    for _ in range(20):
        response = chain.ask(pull_request(has))
        assert sum(map(len, response)) <= TARGET_MESSAGE_BYTES
        has.update(response)
    assert has == set(raws)


def test_items_that_a_peer_refuses_don_t_hide_the_others() -> None:
    raws = numbered(300, 1000)
    chain = Chain(raws)
    seen = {raw for _ in range(100) for raw in chain.ask(pull_request())}
    assert len(seen) > 200


def test_a_large_item_is_returned_alone() -> None:
    chain = Chain([bytes(2 * TARGET_MESSAGE_BYTES)])
    assert chain.ask(pull_request()) == [bytes(2 * TARGET_MESSAGE_BYTES)]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\xff\xff\xff",
        PullGossipRequest(salt=bytes(31), filter=b"\1" + bytes(9)).SerializeToString(),
        PullGossipRequest(salt=bytes(32), filter=b"\0" + bytes(9)).SerializeToString(),
    ],
)
def test_a_pull_that_can_t_be_read_is_refused_as_go_does(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AppError) as raised:
        Chain([b"one"]).ask(request_)
    assert (raised.value.code, raised.value.message) == (-1, "unexpected error")
    assert caplog.records == []


def test_a_validator_that_pulls_too_often_is_throttled() -> None:
    chain = Chain()
    for _ in range(3600):
        chain.ask(pull_request())
    with pytest.raises(AppError, match="throttled"):
        chain.ask(pull_request())


def test_the_limit_of_a_validator_falls_with_their_number() -> None:
    chain = Chain(validators=[PEER, STRANGER, OWN])
    # 3600 / 3 and four times the root of 3600 * 2 / 9.
    for _ in range(1314):
        chain.ask(pull_request())
    with pytest.raises(AppError, match="throttled"):
        chain.ask(pull_request())


def test_peers_that_are_not_validators_share_a_limit() -> None:
    chain = Chain([b"one"])
    for number in range(MAX_STRANGERS_PULLS):
        assert chain.ask(pull_request(), node_id(100 + number)) == [b"one"]
    with pytest.raises(AppError, match="throttled"):
        chain.ask(pull_request(), node_id(99))
    assert chain.ask(pull_request(), PEER) == [b"one"]
    chain.clock.now += 120
    assert chain.ask(pull_request(), node_id(99)) == [b"one"]


@pytest.mark.parametrize("message", [b"\xff\xff", b"\x0a\x05a"])
def test_garbage_that_is_pushed_is_dropped(message: bytes, caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    chain.gossip.app_gossip(PEER, message)
    assert chain.items.offered == []
    assert caplog.records == []


def test_a_peer_of_invalid_items_is_ignored_for_a_while() -> None:
    chain = Chain()
    bad = [b"bad%d" % number for number in range(3 * MAX_REFUSALS)]
    chain.gossip.app_gossip(PEER, push(*bad, b"good"))
    assert len(chain.items.offered) == MAX_REFUSALS
    chain.gossip.app_gossip(PEER, push(b"later"))
    assert len(chain.items.offered) == MAX_REFUSALS
    chain.gossip.app_gossip(STRANGER, push(b"of another"))
    chain.clock.now += 20
    chain.gossip.app_gossip(PEER, push(b"last"))
    assert chain.items.raws() == [b"of another", b"last"]


def test_valid_items_don_t_count_against_a_peer() -> None:
    chain = Chain()
    raws = numbered(3 * MAX_REFUSALS, 4)
    chain.gossip.app_gossip(PEER, push(*raws))
    chain.gossip.app_gossip(PEER, push(*raws, b"one more"))
    assert chain.items.raws() == [*raws, b"one more"]
    assert len(chain.items.offered) == len(raws) + 1


# The thread --------------------------------------------------------------------------------------


def test_messages_are_handled_and_sent_from_start_to_stop() -> None:
    chain = Chain()
    with pytest.raises(AppError, match="unregistered handler"):
        chain.network.app_request(PEER, 2, DEADLINE, b"\0" + pull_request())
    chain.gossip.start()
    chain.gossip.start()
    chain.submit(b"one")
    assert chain.node.gossiped.wait(60)
    assert chain.network.app_request(PEER, 2, DEADLINE, b"\0" + pull_request()) == push(b"one")
    chain.gossip.stop()
    assert gossip_threads(chain) == 0
    chain.gossip.stop()


def test_a_fault_of_the_set_is_reported_and_gossip_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    failed, has = threading.Event(), chain.items.has

    def fail_once(item_id: ID) -> bool:
        if failed.is_set():
            return has(item_id)
        failed.set()
        raise RuntimeError("a bug in the set")

    chain.items.has = fail_once  # type: ignore[method-assign]
    chain.submit(b"one")
    chain.gossip.start()
    assert failed.wait(60)
    chain.submit(b"two")
    assert chain.node.gossiped.wait(60)
    chain.gossip.stop()
    assert "a bug in the set" in caplog.text


def gossip_threads(chain: Chain) -> int:
    return sum(thread.name == "gossip" for thread in set(threading.enumerate()) - chain.threads_before)


def test_a_node_that_is_alone_has_no_thread() -> None:
    chain = Chain()
    for peer in (PEER, STRANGER):
        chain.network.disconnected(peer)
    chain.gossip.start()
    assert gossip_threads(chain) == 0
    chain.network.connected(PEER, VERSION)
    chain.network.connected(STRANGER, VERSION)
    assert gossip_threads(chain) == 1
    chain.gossip.stop()
    assert gossip_threads(chain) == 0
    chain.network.connected(PEER, VERSION)
    assert gossip_threads(chain) == 0


def test_nothing_is_added_after_the_stop() -> None:
    chain = Chain()
    chain.gossip.stop()
    chain.gossip.app_gossip(PEER, push(b"one"))
    assert chain.items.offered == []


def test_stop_without_start_is_harmless() -> None:
    Chain().gossip.stop()
