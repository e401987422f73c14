"""The interop tests run where there is Go, on every node's release."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gobuild import GO_IS_MISSING, go_version

from .gohost import GoHost
from .nodes import NODES, Node
from .results import NODE_PROPERTY

HERE = Path(__file__).resolve().parent
# A test may have to compile its host first: minutes, where nothing of the node's module was
# compiled before.
TIMEOUT_S = 900


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "interop: needs Go: runs against the node's own plugin-host library")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
            node = item.callspec.params.get("node") if hasattr(item, "callspec") else None
            if isinstance(node, Node):
                item.user_properties.append((NODE_PROPERTY, node.name))


@pytest.fixture(scope="session", autouse=True)
def _go() -> None:
    if go_version() is not None:
        return
    if os.environ.get("CI"):
        pytest.fail(GO_IS_MISSING)
    pytest.skip(GO_IS_MISSING)


@pytest.fixture(scope="session", params=list(NODES.values()), ids=lambda node: f"node-{node.name}")
def node(request: pytest.FixtureRequest) -> Node:
    """Each release of a node in turn."""
    found = request.param
    assert isinstance(found, Node)
    return found


@pytest.fixture
def host(node: Node) -> Iterator[GoHost]:
    """A host of the node's release, with no plugin yet."""
    with GoHost(node) as running:
        yield running
