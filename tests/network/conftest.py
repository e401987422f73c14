"""The tests of `vmsdk network` run on every node there is: AvalancheGo of two protocols, and those that VMSDK_TEST_NODES names.

Where there is neither a node nor Go they are skipped, and with CI set they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmsdk.network import LocalNetwork, NodeBinary

from .build import PROTOCOLS, build, has_go, path_of

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples" / "timestamp" / "timestampvm.py"
NODES_VARIABLE = "VMSDK_TEST_NODES"
TIMEOUT_S = 900  # the first test of a protocol may have to build its node


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: needs a real node, or Go to build one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.network)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


def _named_nodes() -> list[Path]:
    return [Path(path) for path in os.environ.get(NODES_VARIABLE, "").split(os.pathsep) if path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "node_choice" in metafunc.fixturenames:
        choices: list[int | Path] = [*PROTOCOLS, *_named_nodes()]
        names = [f"protocol{choice}" if isinstance(choice, int) else choice.name for choice in choices]
        metafunc.parametrize("node_choice", choices, ids=names, scope="session")


def _built(protocol: int) -> Path:
    if not has_go() and not path_of(protocol).exists():
        reason = f"there is no node of protocol {protocol} at {path_of(protocol)}, and no Go to build it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return build(protocol)


@pytest.fixture(scope="session")
def node(node_choice: int | Path) -> NodeBinary:
    """Each of the nodes in turn."""
    return NodeBinary.find(_built(node_choice) if isinstance(node_choice, int) else node_choice)


@pytest.fixture(scope="session")
def any_node() -> NodeBinary:
    """One node, for what does not depend on the node's version."""
    named = _named_nodes()
    return NodeBinary.find(named[0] if named else _built(PROTOCOLS[-1]))


@pytest.fixture
def make_network(tmp_path: Path) -> Iterator[Callable[..., LocalNetwork]]:
    """Makes networks in directories of their own, which are gone after the test, whatever happened."""
    networks: list[LocalNetwork] = []

    def make(*args: object, **options: object) -> LocalNetwork:
        options.setdefault("directory", tmp_path / f"network{len(networks)}")
        network = LocalNetwork(*args, **options)  # type: ignore[arg-type]
        networks.append(network)
        return network

    yield make
    for network in networks:
        network.clean()
