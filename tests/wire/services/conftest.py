"""The development host's services, and a VM's connection to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.services.node_starter import NodeStarter
from vmsdk.host.services import NodeServices
from vmsdk.protocol import NEWEST
from vmsdk.services.database import DatabaseClient
from vmsdk.services.node import NodeConnection


@pytest.fixture
def start_node() -> Iterator[NodeStarter]:
    """Starts the services of a node that speaks the given protocol version, and connects to
    them.
    """
    starter = NodeStarter()
    yield starter
    starter.stop_all()


@pytest.fixture
def node(start_node: NodeStarter) -> tuple[NodeServices, NodeConnection]:
    """A node of the newest protocol."""
    return start_node(NEWEST)


@pytest.fixture
def services(node: tuple[NodeServices, NodeConnection]) -> NodeServices:
    """The node's side."""
    return node[0]


@pytest.fixture
def connection(node: tuple[NodeServices, NodeConnection]) -> NodeConnection:
    """The VM's side."""
    return node[1]


@pytest.fixture
def db(connection: NodeConnection) -> DatabaseClient:
    """The chain's database, as the VM has it."""
    return connection.database
