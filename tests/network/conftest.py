"""The tests of `vmsdk network` run on every node there is: AvalancheGo of two protocols, and those
that VMSDK_TEST_NODES names.

Where there is neither a node nor Go they are skipped, and with CI set they fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from tests.gobuild import go_version
from vmsdk.network import LocalNetwork, NodeBinary

from .build import PROTOCOLS, build, path_of

HERE = Path(__file__).resolve().parent
NODES_VARIABLE = "VMSDK_TEST_NODES"
TIMEOUT_S = 400  # the first test of a protocol may have to build its node, which takes some 100 s


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: needs a real node, or Go to build one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.network)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "node_choice" in metafunc.fixturenames:
        choices: list[int | Path] = [*PROTOCOLS, *_named_nodes()]
        names = [f"protocol{choice}" if isinstance(choice, int) else choice.name for choice in choices]
        metafunc.parametrize("node_choice", choices, ids=names, scope="session")


def _named_nodes() -> list[Path]:
    return [Path(path) for path in os.environ.get(NODES_VARIABLE, "").split(os.pathsep) if path]


def _built(protocol: int) -> Path:
    if go_version() is None and not path_of(protocol).exists():
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


@pytest.fixture(scope="session")
def older_node() -> NodeBinary:
    """A node that is older than `any_node`."""
    return NodeBinary.find(_built(PROTOCOLS[0]))


@pytest.fixture
def make_network(tmp_path: Path) -> Iterator[Callable[..., LocalNetwork]]:
    """Makes networks in their own directories, which are removed after the test in any case."""
    networks: list[LocalNetwork] = []

    def make(*chains: Any, **options: Any) -> LocalNetwork:
        options.setdefault("directory", tmp_path / f"network{len(networks)}")
        network = LocalNetwork(*chains, **options)
        networks.append(network)
        return network

    yield make
    for network in networks:
        network.clean()


class Command:
    """The command `vmsdk network`, run as a person runs it, with a data directory of its own."""

    def __init__(self, home: Path, node: NodeBinary | None) -> None:
        self.networks = home / "vmsdk" / "networks"
        self._environment = {**os.environ, "XDG_DATA_HOME": str(home), "COLUMNS": "80"}
        self._environment.pop("VMSDK_NODE", None)
        if node is not None:
            self._environment["VMSDK_NODE"] = str(node.path)

    def argv(self, *arguments: object) -> list[str]:
        return [str(Path(sys.executable).with_name("vmsdk")), "network", *map(str, arguments)]

    def run(
        self, *arguments: object, under: list[str] | None = None, stdout: IO[bytes] | int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end. `under` is a command that runs the command."""
        argv = [*(under or []), *self.argv(*arguments)]
        return subprocess.run(
            argv, env=self._environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )

    def ok(self, *arguments: object) -> str:
        """Runs it until it exits, with status 0; returns what it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Starts it; its errors go where its output goes."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def network(self, name: str) -> LocalNetwork:
        return LocalNetwork.open(self.networks / name)

    def clean(self) -> None:
        for directory in self.networks.glob("*"):
            LocalNetwork(directory=directory).clean()


@pytest.fixture
def command(tmp_path: Path, any_node: NodeBinary) -> Iterator[Command]:
    """The command with one node; its networks are removed after the test in any case."""
    command = Command(tmp_path / "home", any_node)
    yield command
    command.clean()


def processes_in(directory: Path) -> list[psutil.Process]:
    """What runs from the directory or with data in it: nodes and plugins."""
    return [process for process in psutil.process_iter() if _mentions(process, str(directory))]


def read_until(stream: Iterator[str], text: str) -> str:
    """Reads lines up to one that holds the text, and returns all of them."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} did not come; there came:\n{''.join(lines)}")


def _mentions(process: psutil.Process, text: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(text in word for word in process.cmdline())
    except psutil.Error:
        return False
