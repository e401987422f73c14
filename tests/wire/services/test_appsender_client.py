from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.failing import fail_next
from tests.wire.services.node_starter import NodeStarter
from vmsdk.errors import InvalidInput, NodeError, RemovedFromProtocol
from vmsdk.host.appsender import SentError, SentGossip, SentRequest, SentResponse
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import AppSender
from vmsdk.services.node import NodeConnection

ALICE, BOB = NodeID(b"a" * 20), NodeID(b"b" * 20)
CHAIN = ID.of(b"another chain")
UINT32_MAX, INT32_MIN, UINT64_MAX = 2**32 - 1, -(2**31), 2**64 - 1

CROSS_CHAIN: list[Callable[[AppSender], None]] = [
    lambda sender: sender.send_cross_chain_app_request(CHAIN, 1, b"question"),
    lambda sender: sender.send_cross_chain_app_response(CHAIN, 2, b"answer"),
    lambda sender: sender.send_cross_chain_app_error(CHAIN, 3, -1, "no"),
]


@pytest.fixture
def sender(connection: NodeConnection) -> AppSender:
    return connection.sender


def test_a_request_reaches_each_distinct_node(services: NodeServices, sender: AppSender) -> None:
    sender.send_app_request([ALICE, BOB, ALICE], UINT32_MAX, b"question")
    assert services.app_sender.sent == [SentRequest((ALICE, BOB), UINT32_MAX, b"question")]


def test_node_ids_may_come_from_any_iterable(services: NodeServices, sender: AppSender) -> None:
    sender.send_app_request((node_id for node_id in (ALICE, BOB)), 0, b"")
    assert services.app_sender.sent == [SentRequest((ALICE, BOB), 0, b"")]


def test_a_response_and_an_error_go_to_the_one_who_asked(services: NodeServices, sender: AppSender) -> None:
    sender.send_app_response(ALICE, 1, b"answer")
    sender.send_app_error(BOB, 2, INT32_MIN, "no")
    assert services.app_sender.sent == [
        SentResponse(ALICE, 1, b"answer"),
        SentError(BOB, 2, INT32_MIN, "no"),
    ]


def test_gossip_names_nodes_and_sample_sizes(services: NodeServices, sender: AppSender) -> None:
    sender.send_app_gossip(b"news", peers=3)
    sender.send_app_gossip(b"more", node_ids=[ALICE], validators=1, non_validators=2, peers=UINT64_MAX)
    assert services.app_sender.sent == [
        SentGossip((), 0, 0, 3, b"news"),
        SentGossip((ALICE,), 1, 2, UINT64_MAX, b"more"),
    ]


def test_gossip_without_a_target_is_refused_and_nothing_is_sent(
    services: NodeServices, sender: AppSender
) -> None:
    with pytest.raises(InvalidInput, match="gossip has no target: pass node_ids"):
        sender.send_app_gossip(b"news")
    assert not services.app_sender.calls


def test_a_request_to_no_node_is_refused_and_nothing_is_sent(
    services: NodeServices, sender: AppSender
) -> None:
    with pytest.raises(InvalidInput, match="needs a node to send it to"):
        sender.send_app_request([], 1, b"question")
    assert not services.app_sender.calls


@pytest.mark.parametrize(
    ("nodes", "message", "text"),
    [
        (ALICE, b"", r"node_ids is NodeID.*: pass a list of node IDs, such as \[node_id\]"),
        (str(ALICE), b"", r"node_ids is 'NodeID-.*: pass a list of node IDs"),
        ([str(ALICE)], b"", r"NodeID\('NodeID-.*'\) takes 20 bytes: use NodeID\.from_string"),
        ([ALICE], "text", "a message is bytes, not 'text': encode it"),
        ([ALICE], None, "a message is bytes, not None: encode it"),
    ],
)
def test_what_is_not_bytes_is_named_and_nothing_is_sent(
    services: NodeServices, sender: AppSender, nodes: Any, message: Any, text: str
) -> None:
    sends: list[Callable[[], None]] = [
        lambda: sender.send_app_request(nodes, 1, message),
        lambda: sender.send_app_gossip(message, node_ids=nodes),
    ]
    for send in sends:
        with pytest.raises(TypeError, match=f"^{text}"):
            send()
    assert not services.app_sender.calls


@pytest.mark.parametrize("length", [0, 19, 21, 32])
def test_edge_61_a_node_id_of_the_wrong_length_is_refused_and_nothing_is_sent(
    services: NodeServices, sender: AppSender, length: int
) -> None:
    # What an author may pass by mistake; a type checker would tell.
    wrong: NodeID = bytes(length)  # type: ignore[assignment]
    sends: list[Callable[[], None]] = [
        lambda: sender.send_app_request([ALICE, wrong], 1, b""),
        lambda: sender.send_app_response(wrong, 1, b""),
        lambda: sender.send_app_error(wrong, 1, 0, ""),
        lambda: sender.send_app_gossip(b"", node_ids=[wrong]),
    ]
    for send in sends:
        with pytest.raises(InvalidInput, match=f"expected 20 bytes but got {length}"):
            send()
    assert not services.app_sender.calls


def test_numbers_that_do_not_fit_are_refused_and_nothing_is_sent(
    services: NodeServices, sender: AppSender
) -> None:
    sends: list[tuple[Callable[[], None], str]] = [
        (lambda: sender.send_app_request([ALICE], -1, b""), "a request ID is a number from 0 to 4294967295"),
        (lambda: sender.send_app_response(ALICE, UINT32_MAX + 1, b""), "4294967296 is not"),
        (lambda: sender.send_app_error(ALICE, 1, INT32_MIN - 1, ""), "error's code .* -2147483648 to"),
        (lambda: sender.send_app_gossip(b"", peers=-1), "number of peers"),
        (lambda: sender.send_app_gossip(b"", validators=UINT64_MAX + 1), "number of validators"),
    ]
    for send, says in sends:
        with pytest.raises(InvalidInput, match=says):
            send()
    assert not services.app_sender.calls


def test_the_nodes_refusal_is_raised(services: NodeServices, sender: AppSender) -> None:
    fail_next(services.app_sender, "SendAppGossip", "shutting down")
    with pytest.raises(NodeError, match=r"^shutting down$"):
        sender.send_app_gossip(b"", peers=1)


@pytest.mark.parametrize("version", [35, 36])
def test_until_protocol_36_messages_go_to_other_chains(start_node: NodeStarter, version: int) -> None:
    services, connection = start_node(version)
    for send in CROSS_CHAIN:
        send(connection.sender)
    assert services.app_sender.sent == [
        SentRequest((CHAIN,), 1, b"question"),
        SentResponse(CHAIN, 2, b"answer"),
        SentError(CHAIN, 3, -1, "no"),
    ]


@pytest.mark.parametrize("version", [37, 46])
def test_from_protocol_37_messages_to_other_chains_are_refused_and_nothing_is_sent(
    start_node: NodeStarter, version: int
) -> None:
    services, connection = start_node(version)
    for send in CROSS_CHAIN:
        with pytest.raises(RemovedFromProtocol, match="removed after protocol 36") as caught:
            send(connection.sender)
        assert (caught.value.last, caught.value.has) == (36, version)
    assert not services.app_sender.calls
