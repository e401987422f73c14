"""A real node's plugin without threads, descriptors or disk for a moment: the chain continues, or
its process exits with the reason. It is never stuck in between.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from vmsdk.network import LocalNetwork, Node, NodeBinary
from vmsdk.network.errors import NetworkError

from .targets import ARCHIVE, LOG_TIMEOUT_S, SHORT, lines_until, propose

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")

SHORTAGE_S = 2.0


def plugin_of(node: Node) -> psutil.Process:
    """The process of the node's only plugin."""
    parents = [each for each in psutil.process_iter() if str(node.directory) in " ".join(_words(each))]
    (plugin,) = {child for each in parents for child in each.children() if _words(child)}
    return plugin


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize("lack", ["threads", "descriptors"])
def test_a_chain_survives_a_moments_shortage_or_ends_with_its_reason(
    any_node: NodeBinary, make_network: Callable[..., LocalNetwork], tmp_path: Path, lack: str
) -> None:
    # Not installed: the script lets go of root's rights before it has any other thread.
    plugin_file = tmp_path / "short"
    plugin_file.write_text(f"#!/bin/sh\nexec {sys.executable} {SHORT}\n")
    plugin_file.chmod(0o755)
    network = make_network(str(plugin_file), node=any_node.path)
    network.start()
    node, chain = network.nodes[0], network.chain
    propose(network, node, b"before")
    plugin = plugin_of(node)
    chain.client(node, "/order").call("lack", what=lack, seconds=SHORTAGE_S)
    number, log = 0, chain.log(node)
    while plugin.is_running() and "there is plenty again" not in log.read_text():
        number += 1
        with contextlib.suppress(NetworkError):
            chain.client(node).call("timestampvm.proposeBlock", data=f"0x{number:08x}")
    try:
        propose(network, node, b"after")
    except NetworkError:
        lines_until(log, "the process ends: ")
        plugin.wait(LOG_TIMEOUT_S)
    else:
        assert plugin.is_running()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_chain_continues_while_the_disk_of_its_data_directory_is_full(
    any_node: NodeBinary, make_network: Callable[..., LocalNetwork], small_disk: Path
) -> None:
    network = make_network(ARCHIVE, node=any_node.path, flags={"chain-data-dir": str(small_disk)})
    network.start()
    node, chain = network.nodes[0], network.chain
    client = chain.client(node)
    assert client.call("indexed", height=0) == 0
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1_024))
    blocks, end_s = 0, time.monotonic() + SHORTAGE_S
    while time.monotonic() < end_s or blocks < 4:
        blocks += 1
        client.call("submit", text=f"{blocks}" * 500)
        network.wait_for_height(blocks)
    lines_until(chain.log(node), "Index failed at height ", "no checkpoint at height 4, because ")
    filler.unlink()
    assert client.call("indexed", height=blocks) == blocks
