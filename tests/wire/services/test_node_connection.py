from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.wire.services.node_starter import NodeStarter
from tests.wire.services.scripted_node import DEADLINE_S
from vmsdk.errors import DatabaseFailed, NodeError
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID
from vmsdk.services.node import NodeConnection


def test_one_connection_reaches_every_service(services: NodeServices, connection: NodeConnection) -> None:
    connection.database.put(b"k", b"v")
    connection.sender.send_app_gossip(b"gossip", peers=1)
    connection.shared_memory.apply({})
    assert connection.aliases.lookup("P") == ID.EMPTY
    assert connection.validators.get_current_height() == 0
    assert services.database.space.get(b"k") == b"v"


def test_closing_ends_every_service_at_once_and_repeating_it_is_harmless(connection: NodeConnection) -> None:
    connection.close()
    connection.close()
    with pytest.raises(NodeError, match="connection to the node was closed"):
        connection.database.get(b"k")
    with pytest.raises(NodeError, match="connection to the node was closed"):
        connection.aliases.lookup("P")


def test_edge_18_after_the_node_stopped_its_servers_closing_fails_calls_instead_of_hanging(
    services: NodeServices, connection: NodeConnection
) -> None:
    connection.database.put(b"k", b"v")
    services.stop()
    with ThreadPoolExecutor() as pool:
        calls: list[Future[Any]] = [
            pool.submit(connection.database.get, b"k"),
            pool.submit(connection.validators.get_current_height),
        ]
        connection.close()
        for call in calls:
            error = call.exception(DEADLINE_S)
            assert isinstance(error, NodeError)
            assert error.code == "UNAVAILABLE"


def test_closing_leaves_no_thread_behind(services: NodeServices, connection: NodeConnection) -> None:
    before = set(threading.enumerate())
    connection.database.put(b"k", b"v")
    iterator = connection.database.iterate()
    next(iterator)
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert "vmsdk-iterators" in started
    connection.close()
    assert "vmsdk-iterators" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_an_iterator_whose_connection_was_closed_does_not_look_like_its_end(
    connection: NodeConnection,
) -> None:
    connection.database.put(b"k", b"v")
    iterator = connection.database.iterate()
    assert next(iterator) == (b"k", b"v")
    connection.close()
    with pytest.raises(NodeError, match="connection to the node was closed"):
        next(iterator)
    with pytest.raises(DatabaseFailed):
        next(iterator)


def test_closing_the_database_does_not_wait_for_releases_that_can_not_come_any_more(
    services: NodeServices, connection: NodeConnection
) -> None:
    iterator = connection.database.iterate()
    connection.database.stop()
    connection.database.close()
    assert services.database.closed
    iterator.release()


@pytest.mark.parametrize(("version", "has_messenger"), [(35, True), (41, True), (42, False), (46, False)])
def test_there_is_a_messenger_until_protocol_41(
    start_node: NodeStarter, version: int, has_messenger: bool
) -> None:
    _, connection = start_node(version)
    assert (connection.messenger is not None) == has_messenger
