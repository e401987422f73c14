"""`vmsdk network start` in the foreground: its log, Ctrl-C, changes of code, other commands."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmsdk.network import LocalNetwork

from .conftest import Command, processes_in, read_until
from .targets import TIMESTAMP, data_of, last_block, propose

HINT = "Ctrl-C stops the network"

# A VM that logs the version of its code.
CODE = """
import sys
sys.path.insert(0, {example!r})
from timestampvm import TimestampVM

class ChangingVM(TimestampVM):
    def initialize(self, ctx, genesis, upgrade, config):
        super().initialize(ctx, genesis, upgrade, config)
        ctx.log.info("this is {version}")
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(command: Command) -> Iterator[Start]:
    """Starts the command in the foreground; it is stopped after the test in any case."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = command.start("start", *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def output_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout)


def write_vm(path: Path, version: str) -> None:
    example = str(Path(TIMESTAMP.partition(":")[0]).parent)
    replace(path, CODE.format(example=example, version=version))


def replace(path: Path, text: str) -> None:
    """Write a file in one step: the command may see an emptied file as a change of its own, and
    restart twice.
    """
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_the_chains_log_is_followed(start: Start, command: Command) -> None:
    output = output_of(start(TIMESTAMP))
    read_until(output, HINT)
    read_until(output, "timestampvm 1.0.0 serves chain")
    network = command.network("timestampvm")
    read_until(output, "starting consensus")
    network.nodes[0].restart()
    read_until(output, "timestampvm 1.0.0 serves chain")


def test_several_nodes_lines_are_distinguished(start: Start) -> None:
    output = output_of(start(TIMESTAMP, "--nodes", 2))
    read_until(output, HINT)
    seen = read_until(output, "node2: ")
    assert "node1: " in seen or "node1: " in read_until(output, "node1: ")


def test_a_node_that_is_added_is_followed_too(start: Start, command: Command) -> None:
    process = start(TIMESTAMP)
    read_until(output_of(process), HINT)
    command.ok("add-node")
    read_until(output_of(process), "node2: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_in_order_and_all_can_be_started_again(
    start: Start, command: Command, number: signal.Signals
) -> None:
    process = start(TIMESTAMP, "--nodes", 2)
    read_until(output_of(process), HINT)
    network = command.network("timestampvm")
    height = propose(network, network.nodes[0], b"before the signal")
    network.wait_for_height(height)
    process.send_signal(number)
    assert process.wait() == 0
    assert processes_in(network.directory) == []
    assert {node.status for node in network.nodes} == {"stopped"}
    for node in network.nodes:
        log = network.chain.log(node).read_text(encoding="utf-8")
        assert "the node shut the chain down" in log.rpartition("starting consensus")[2]
    command.ok("start", "--detach")
    assert [data_of(last_block(network, node)) for node in network.nodes] == [b"before the signal"] * 2


def test_ctrl_c_while_it_starts_leaves_nothing(start: Start, command: Command) -> None:
    process = start(TIMESTAMP)
    read_until(output_of(process), "starting 1 node")
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert processes_in(command.networks) == []
    assert not command.networks.exists()


def test_a_network_whose_command_was_killed_is_stopped_by_another(start: Start, command: Command) -> None:
    process = start(TIMESTAMP)
    read_until(output_of(process), HINT)
    process.kill()
    process.wait()
    network = command.network("timestampvm")
    assert network.nodes[0].status == "running"
    assert "running" in command.ok("status")
    command.ok("stop")
    assert processes_in(network.directory) == []


def test_a_network_stopped_by_another_command_ends_the_first_one(start: Start, command: Command) -> None:
    process = start(TIMESTAMP)
    read_until(output_of(process), HINT)
    command.ok("stop")
    assert process.wait() == 0


def test_a_network_removed_by_another_command_ends_the_first_one(start: Start, command: Command) -> None:
    process = start(TIMESTAMP)
    read_until(output_of(process), HINT)
    command.ok("clean")
    assert process.wait() == 0
    assert not (command.networks / "timestampvm").exists()


def test_a_node_that_dies_is_reported_and_the_others_continue(start: Start, command: Command) -> None:
    process = start(TIMESTAMP, "--nodes", 2)
    output = output_of(process)
    read_until(output, HINT)
    network = command.network("timestampvm")
    kill_behind_its_back(network, "node2")
    read_until(output, "vmsdk network: node2 was killed by SIGKILL")
    assert network.node("node2").status == "dead"
    assert "dead" in command.ok("status")
    assert process.poll() is None
    kill_behind_its_back(network, "node1")
    read_until(output, "vmsdk network: node1 was killed by SIGKILL")
    assert process.wait() == 1


def test_a_second_start_of_a_running_network_is_refused(start: Start, command: Command) -> None:
    process = start(TIMESTAMP)
    read_until(output_of(process), HINT)
    second = command.run("start", TIMESTAMP)
    assert second.returncode == 1
    assert "the network timestampvm is running" in second.stderr
    assert process.poll() is None


def test_changed_code_restarts_the_chain_with_its_blocks(
    start: Start, command: Command, tmp_path: Path
) -> None:
    vm = tmp_path / "code" / "changing.py"
    vm.parent.mkdir()
    write_vm(vm, "the first version")
    process = start(f"{vm}:ChangingVM", "--reload", "--nodes", 2)
    output = output_of(process)
    read_until(output, "this is the first version")
    network = command.network("changingvm")
    height = propose(network, network.nodes[0], b"by the first version")
    network.wait_for_height(height)
    urls = [node.uri for node in network.nodes]

    write_vm(vm, "the second version")
    read_until(output, "restarted with the changed code")
    read_until(output, "this is the second version")
    assert [node.uri for node in network.nodes] == urls
    assert [data_of(last_block(network, node)) for node in network.nodes] == [b"by the first version"] * 2
    propose(network, network.nodes[1], b"by the second version")

    replace(vm, "this is no Python")
    read_until(output, "SyntaxError")
    read_until(output, "waiting for the next change")
    write_vm(vm, "the third version")
    read_until(output, "restarted with the changed code")
    assert data_of(last_block(network, network.nodes[1])) == b"by the second version"
    assert process.poll() is None


def kill_behind_its_back(network: LocalNetwork, name: str) -> None:
    """Kills the node's process behind the network's back."""
    for process in processes_in(network.node(name).directory):
        process.kill()
