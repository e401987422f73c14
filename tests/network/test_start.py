"""A real node starts what `vmsdk dev` and the trial start: see tests/process/test_start.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest

from tests.process.oddities import DONE, FILES, ODDITIES, write
from tests.process.plugin import ROOT
from tests.process.test_children import SOURCE as POOL
from vmsdk.address import TRANSPORT_VARIABLE
from vmsdk.network import LocalNetwork, NewChain, NodeBinary

from .targets import TIMESTAMP, lines_until

MakeNetwork = Callable[..., LocalNetwork]
# One of each kind: a node with a chain for each would take minutes.
MODULES = (
    "handler of SIGTERM",
    "blocked SIGTERM",
    "asyncio with signals",
    "reconfigured streams",
    "closed stdout",
    "no stdout",
    "fork that comes back",
    "process",
    "chdir",
    "logging to stdout",
)
# Only a failing test waits that long.
END_S = 60.0
START_S = 150.0  # so many plugins take half of the usual minute on two busy processors
ENDED = "the node shut the chain down"
KILLED = "subprocess was killed"
HANDSHAKE = "plugin handshake succeeded"


@pytest.fixture(autouse=True)
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the example, from which the VMs are derived, on the path."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def chains(folder: Path) -> Iterable[NewChain]:
    modules = [("oddvm.py", ODDITIES[name]) for name in MODULES] + [(name, "") for name in FILES[::4]]
    for index, (name, oddity) in enumerate(modules):
        file = write(folder / str(index), oddity, name)
        yield NewChain(str(file), f"odd{index}", vm_name=f"odd{index}")


def test_a_modules_oddity_has_no_effect_on_a_node(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(*chains(tmp_path / "source"), node=any_node.path)
    network.start(START_S)
    (node,) = network.nodes
    for chain in network.chains:
        chain.client(node).call("timestampvm.proposeBlock", data="0x01")
        network.wait_for_height(1, chain=chain)
    network.stop()
    for chain in network.chains:
        lines_until(chain.log(node), DONE, ENDED)
        assert KILLED not in chain.log(node).read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_compute_and_end_with_a_node_that_is_killed(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path, method: str
) -> None:
    file = tmp_path / "poolvm.py"
    initialized = "        print('squares', self.health_check(), flush=True)\n"
    file.write_text(POOL.replace("\n    def shutdown", f"{initialized}\n    def shutdown", 1))
    network = make_network(NewChain(str(file), config=method.encode()), node=any_node.path)
    network.start()
    (node,) = network.nodes
    lines = lines_until(network.chain.log(node), "squares {", "set the state")
    (line,) = (each for each in lines if "squares {" in each)
    results = [(int(pid), int(square)) for pid, square in re.findall(r"\((\d+), (\d+)\)", line)]
    assert [square for _, square in results] == [0, 1, 4, 9]
    workers = [psutil.Process(pid) for pid, _ in results]
    pid = node.record.pid
    assert pid is not None
    psutil.Process(pid).kill()  # alone: `Node.kill` would kill the workers as well
    _, alive = psutil.wait_procs(workers, END_S)
    assert alive == []


@pytest.mark.parametrize(("transport", "address"), [("unix", "unix:/"), ("tcp", "127.0.0.1:")])
def test_a_node_hands_its_choice_of_a_transport_on(
    any_node: NodeBinary,
    make_network: MakeNetwork,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    address: str,
) -> None:
    monkeypatch.setenv(TRANSPORT_VARIABLE, transport)
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    lines = lines_until(network.chain.log(network.nodes[0]), HANDSHAKE)
    assert f'{HANDSHAKE} {{"addr": "{address}' in lines[-1]
