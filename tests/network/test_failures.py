"""What fails is explained, and a failed start leaves nothing: no process, no file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmsdk.install.launcher import InstallError
from vmsdk.network import LocalNetwork, NewChain, NodeBinary
from vmsdk.network.errors import NetworkError, PluginFailed, PortTaken

from .conftest import Command, processes_in
from .targets import (
    BROKEN,
    DOOMED,
    MORTAL,
    PICKY,
    RESIGNED,
    STUCK,
    TIMESTAMP,
    UNSERVED,
    data_of,
    last_block,
    lines_until,
    propose,
)

MakeNetwork = Callable[..., LocalNetwork]


@contextlib.contextmanager
def nothing_left_in(directory: Path) -> Iterator[None]:
    """Whatever happens inside, no file and no process may be there afterwards that was not there
    before.
    """
    before = sorted(directory.rglob("*"))
    yield
    assert sorted(directory.rglob("*")) == before
    assert processes_in(directory) == []


@pytest.fixture
def somebodys_port() -> Iterator[int]:
    """A port that is taken, between two free ones that the system never hands out by itself."""
    for port in range(10_001 + os.getpid() % 5_000 * 3, 2**16, 3):
        try:
            for neighbour in (port - 1, port + 1):
                socket.create_server(("127.0.0.1", neighbour)).close()
            listener = socket.create_server(("127.0.0.1", port))
        except OSError:
            continue
        with listener:
            yield port
        return
    pytest.fail("no three ports in a row are free")


def executable(directory: Path, content: str) -> str:
    path = directory / "plugin"
    path.write_text(content)
    path.chmod(0o755)
    return str(path)


def test_no_such_node(command: Command, tmp_path: Path) -> None:
    with nothing_left_in(tmp_path):
        done = command.run("start", TIMESTAMP, "--node", tmp_path / "avalanchego")
    assert done.returncode == 1
    assert done.stderr == (
        f"vmsdk network: {tmp_path}/avalanchego is not a node: there is no such file; "
        "give the path of a metalgo or avalanchego binary by --node or VMSDK_NODE\n"
    )


def test_a_node_of_a_protocol_that_we_do_not_speak(command: Command, tmp_path: Path) -> None:
    node = tmp_path / "avalanchego"
    node.write_text('#!/bin/sh\necho "avalanchego/9.0.0 [database=v1.4.5, rpcchainvm=99]"\n')
    node.chmod(0o755)
    with nothing_left_in(tmp_path):
        done = command.run("start", TIMESTAMP, "--node", node)
    assert done.returncode == 1
    assert "is avalanchego/9.0.0, which speaks protocol 99" in done.stderr
    assert "upgrade vmsdk" in done.stderr


def test_a_port_for_the_api_that_is_taken(command: Command, tmp_path: Path, somebodys_port: int) -> None:
    with nothing_left_in(tmp_path):
        done = command.run("start", TIMESTAMP, "--port", somebodys_port)
    assert done.returncode == 1
    assert f"node1 can't listen on 127.0.0.1:{somebodys_port}, which another process uses" in done.stderr


def test_a_port_for_staking_that_is_taken(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path, somebodys_port: int
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, http_port=somebodys_port - 1)
    with (
        nothing_left_in(tmp_path),
        pytest.raises(PortTaken, match=f"can't listen on 127.0.0.1:{somebodys_port},"),
    ):
        network.start()


def test_a_limit_of_open_files_that_is_too_low(command: Command, tmp_path: Path) -> None:
    with nothing_left_in(tmp_path):
        done = command.run("start", TIMESTAMP, under=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    assert done.returncode == 1
    assert "this process may open only 256 files, and a node needs 512" in done.stderr


def test_the_lowest_limit_of_open_files_is_enough(command: Command) -> None:
    under = ["sh", "-c", 'ulimit -n 512; exec "$@"', "sh"]
    done = command.run("start", TIMESTAMP, "--detach", under=under)
    assert done.returncode == 0, done.stderr
    network = command.network("timestampvm")
    propose(network, network.nodes[0], b"with few files")


def test_a_vm_that_cannot_be_imported_is_reported_with_its_traceback(
    command: Command, tmp_path: Path
) -> None:
    with nothing_left_in(tmp_path):
        done = command.run("start", BROKEN)
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'a_module_that_is_not_there'" in done.stderr


def test_a_plugin_that_fails_its_registration_is_reported_with_what_it_printed(
    node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(executable(tmp_path, "#!/bin/sh\necho out of order >&2\n"), node=node.path)
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed) as caught:
        network.start()
    assert caught.value.reason.startswith("handshake failed: vm process not found (it exited")
    assert caught.value.lines == ("out of order",)
    assert f"could not start the plugin {network.directory}/plugins/" in str(caught.value)


def test_a_plugin_that_is_not_a_program(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(executable(tmp_path, "\x7fELF and no more"), node=any_node.path)
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed, match="exec format error"):
        network.start()


def test_a_vm_that_is_not_there(command: Command, tmp_path: Path) -> None:
    with nothing_left_in(tmp_path):
        done = command.run("start", f"{tmp_path}/vm.py:VM")
    assert done.returncode == 1
    assert done.stderr == f"vmsdk network: {tmp_path}/vm.py:VM: there is no file {tmp_path}/vm.py\n"


def test_a_chain_that_does_not_initialize_is_reported_with_the_vms_reason(
    node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(NewChain(PICKY, genesis=b"bad"), node=node.path)
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed) as caught:
        network.start()
    assert "the genesis b'bad' has no owner" in caught.value.reason
    assert any("ValueError" in line for line in caught.value.lines)


def test_a_chain_that_stops_while_it_bootstraps_is_reported_with_the_line_of_its_log(
    node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(STUCK, node=node.path)
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed) as caught:
        network.start()
    assert "the disk is full" in caught.value.reason
    assert "chain failed to start" in caught.value.lines[-1]


def test_a_vm_that_ends_its_process_is_reported(
    node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(MORTAL, node=node.path)
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed, match="mortalvm failed on node1"):
        network.start()


def test_a_chain_that_has_ended_is_not_shown_as_running(command: Command) -> None:
    command.ok("start", DOOMED, "--detach")
    network = command.network("doomedvm")
    assert "failed" not in command.ok("status")
    network.client().call("timestampvm.proposeBlock", data="0x01")
    lines_until(network.chain.log(network.nodes[0]), "shutting down chain")
    assert re.search("failed on node1: .*the disk is full", command.ok("status"))
    failures = json.loads(command.ok("status", "--json"))[0]["chains"][0]["failures"]
    assert "the disk is full" in failures["node1"]
    command.ok("restart")
    assert "failed" not in command.ok("status")


def test_a_vm_stops_its_chain_from_a_call_whose_errors_a_node_ignores(
    node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(RESIGNED, node=node.path, nodes=1)
    network.start()
    network.client().call("timestampvm.proposeBlock", data="0x01")
    lines = lines_until(network.chain.log(network.nodes[0]), "shutting down chain")
    assert any("shutting down chain" in line and "the rules have run out" in line for line in lines)


def test_a_chain_whose_http_handlers_cannot_be_made_is_reported_with_the_vms_reason(
    node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(UNSERVED, node=node.path)
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed, match="the interface has no colour"):
        network.start()


def test_a_node_that_refuses_its_flags_is_reported_with_what_it_printed(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, flags={"no-such-flag": "1"})
    with (
        nothing_left_in(tmp_path),
        pytest.raises(NetworkError, match=r"exited with code 1[\s\S]*no-such-flag"),
    ):
        network.start()


def test_a_stray_file_among_the_plugins_is_reported_by_the_node(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    network.stop()
    (network.directory / "plugins" / "README.md").touch()
    with pytest.raises(NetworkError, match=r"invalid vmID: .*README"):
        network.start()
    assert processes_in(network.directory) == []
    (network.directory / "plugins" / "README.md").unlink()
    network.start()


def test_a_directory_with_other_files_is_left_alone(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    (tmp_path / "diary.txt").touch()
    with nothing_left_in(tmp_path), pytest.raises(NetworkError, match="other files"):
        make_network(TIMESTAMP, node=any_node.path, directory=tmp_path).start()
    with pytest.raises(NetworkError, match="it is a file"):
        make_network(TIMESTAMP, node=any_node.path, directory=tmp_path / "diary.txt").start()


def test_of_two_first_starts_at_once_one_learns_of_the_other_and_leaves_it_alone(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_found_no_network = threading.Barrier(2)

    def find(path: object) -> NodeBinary:
        both_found_no_network.wait()
        return any_node

    monkeypatch.setattr(NodeBinary, "find", find)
    networks = [make_network(TIMESTAMP, directory=tmp_path / "network") for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        errors = [start.exception() for start in [pool.submit(network.start) for network in networks]]
    (failed,) = [error for error in errors if error is not None]
    assert isinstance(failed, NetworkError)
    assert "another command" in str(failed)
    assert [node.status for node in networks[0].nodes] == ["running"]
    networks[0].wait_for_height(0)


def test_a_plugin_that_was_removed_is_installed_again(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    network.stop()
    shutil.rmtree(network.directory / "plugins")
    with pytest.raises(NetworkError, match=r"the plugin of the chain .*restart installs it again"):
        network.nodes[0].start()
    network.start()
    network.wait_for_height(0)


def test_a_node_whose_key_was_removed_is_reported_with_both_its_ids(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, nodes=2)
    network.start()
    network.stop()
    node = network.nodes[1]
    key = node.directory / "staking" / "staker.key"
    content = key.read_bytes()
    certificate = key.with_suffix(".crt").read_bytes()
    key.unlink()
    with pytest.raises(
        NetworkError, match=rf"node2 has started as NodeID-.* knows it as {node.node_id}: its keys"
    ):
        network.start()
    assert processes_in(network.directory) == []
    for file, kept in ((key, content), (key.with_suffix(".crt"), certificate)):
        file.chmod(0o600)
        file.write_bytes(kept)
    network.start()


def test_a_validator_whose_bls_key_was_removed_is_reported(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, nodes=1, weights=[100])
    network.start()
    network.stop()
    key = network.nodes[0].directory / "staking" / "signer.key"
    content = key.read_bytes()
    key.unlink()
    with pytest.raises(
        NetworkError, match=r"node1 has started with the BLS key .*signer\.key was removed or"
    ):
        network.start()
    assert processes_in(network.directory) == []
    key.chmod(0o600)
    key.write_bytes(content)
    network.start()
    network.wait_for_height(0)


def test_an_empty_directory_is_still_there_after_a_failed_start(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    directory = tmp_path / "network"
    directory.mkdir()
    with nothing_left_in(tmp_path), pytest.raises(PluginFailed):
        make_network(STUCK, node=any_node.path, directory=directory).start()


def test_a_node_that_cannot_be_added_leaves_the_network_as_it_was(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    plugin = next((network.directory / "plugins").iterdir())
    content = plugin.read_bytes()
    plugin.write_text("#!/bin/sh\necho out of order\n")
    with pytest.raises(PluginFailed, match="out of order"):
        network.add_node()
    plugin.write_bytes(content)
    assert [node.name for node in network.nodes] == ["node1"]
    assert not (network.directory / "node2").exists()
    propose(network, network.nodes[0], b"still alive")


def test_a_chain_that_cannot_be_added_leaves_the_network_as_it_was(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    propose(network, network.nodes[0], b"before")
    with pytest.raises(PluginFailed, match="has no owner"):
        network.add_chain(NewChain(PICKY, genesis=b"bad"))
    with pytest.raises(InstallError):
        network.add_chain(BROKEN)
    with pytest.raises(NetworkError, match="'timestampvm'"):
        network.add_chain(TIMESTAMP)
    assert [chain.name for chain in network.chains] == ["timestampvm"]
    assert len(list((network.directory / "plugins").iterdir())) == 1
    assert data_of(last_block(network, network.nodes[0])) == b"before"
    propose(network, network.nodes[0], b"after")


def test_what_the_p_chain_refuses_comes_out_as_a_sentence(
    any_node: NodeBinary, make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vmsdk.network.wallet.FEE", 1)
    network = make_network(TIMESTAMP, node=any_node.path)
    with (
        nothing_left_in(tmp_path),
        pytest.raises(NetworkError, match=r"did not create a subnet: .*insufficient"),
    ):
        network.start()


def test_a_genesis_of_the_greatest_size_is_taken(any_node: NodeBinary, make_network: MakeNetwork) -> None:
    network = make_network(NewChain(TIMESTAMP, genesis=b"g" * (255 * 1024)), node=any_node.path)
    network.start()
    assert data_of(last_block(network, network.nodes[0])) == b"g" * 32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--flag", "log-level"], "'log-level' is not a flag of a node: give NAME=VALUE"),
        (["--genesis", "no/such/file"], "can't read no/such/file: No such file or directory"),
        (["--nodes", "0"], "a network can't have 0 nodes"),
        (["--name", "a/b"], "'a/b' is not a valid network name"),
        (["--name", "P"], "'P' can't name a new chain"),
        (["--port", "70000"], "can't have ports from 70000 on"),
        (["--vm-name", "é", "--name", "ok"], "'é' cannot name a VM"),
    ],
)
def test_invalid_options_are_refused(
    command: Command, tmp_path: Path, options: list[str], words: str
) -> None:
    with nothing_left_in(tmp_path):
        done = command.run("start", TIMESTAMP, *options)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
