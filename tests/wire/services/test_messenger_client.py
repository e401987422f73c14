from __future__ import annotations

import grpc
import pytest

from tests.wire.services.node_starter import NodeStarter
from tests.wire.services.scripted_node import ScriptedNode, fails
from vmsdk._pb.messenger.messenger_grpc import Messenger
from vmsdk.errors import NodeError
from vmsdk.services.channel import connect
from vmsdk.services.messenger import MessengerClient
from vmsdk.state import Event


@pytest.mark.parametrize("version", [35, 41])
@pytest.mark.parametrize("event", list(Event))
def test_the_node_receives_an_event(start_node: NodeStarter, version: int, event: Event) -> None:
    services, connection = start_node(version)
    assert connection.messenger is not None
    assert connection.messenger.notify(event)
    assert services.events.take(timeout_s=0) == event


def test_edge_58_a_full_queue_is_not_an_error(start_node: NodeStarter) -> None:
    services, connection = start_node(41)
    assert connection.messenger is not None
    assert connection.messenger.notify(Event.BUILD_BLOCK)
    assert not connection.messenger.notify(Event.STATE_SYNC_FINISHED)
    assert services.events.take(timeout_s=0) == Event.BUILD_BLOCK
    assert connection.messenger.notify(Event.STATE_SYNC_FINISHED)


def test_any_other_refusal_is_an_error() -> None:
    with (
        ScriptedNode({Messenger.Notify: fails(grpc.StatusCode.UNKNOWN, "stopped")}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError, match=r"^stopped$"),
    ):
        MessengerClient(channel).notify(Event.BUILD_BLOCK)
