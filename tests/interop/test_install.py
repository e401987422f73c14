"""One installed file serves every node's release: it asks the node that starts it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk.runtime.release import ReleaseCache, cache_directory

from .build import build
from .gohost import BUILD_BLOCK, GoHost, GoHostError
from .jsonrpc import call
from .nodes import NEWEST, NODES, OLDEST_PROTOCOL
from .pyplugin import REPOSITORY

SLOW_MS = 300
"""What the host takes to report its version if its file's name ends in -slow."""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The timestamp example, installed."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    target = REPOSITORY / "examples" / "timestamp" / "timestampvm.py"
    command = [sys.executable, "-m", "vmsdk", "install", str(target)]
    command += ["--name", "timestampvm", "--plugin-dir", str(plugins)]
    subprocess.run(command, check=True)
    (installed,) = plugins.iterdir()
    return installed


def test_a_vm_installed_once_runs_on_every_node(plugin: Path) -> None:
    for node in NODES.values():
        with GoHost(node) as host:
            assert host.register(plugin) == "1.0.0"
            host.run(plugin, b"genesis")
            assert call(host.create_handlers(), "timestampvm.proposeBlock", data="0x01") == {"success": True}
            assert host.wait_for_event() == BUILD_BLOCK
            block = host.build()
            host.verify(block.id)
            assert host.accept(block.id).height == 1
            host.shutdown()


def test_a_slow_node_is_asked_once(plugin: Path, tmp_path: Path) -> None:
    # Another file than the tests before had: what a node has said once is not asked again.
    slow = tmp_path / "node-slow"
    shutil.copy(build("host", NEWEST), slow)
    path, directory = str(slow.resolve()), cache_directory()
    assert directory is not None
    cache = ReleaseCache(directory)
    with GoHost(NEWEST, slow) as host:
        (handshake_ms,) = host.call("launch", plugin=str(plugin), count=1)["handshake"]
        assert handshake_ms > SLOW_MS
        said = cache.get(path, path)
        assert said is not None
        assert said.protocol == NEWEST.protocol
        # The node would say otherwise.
        cache.put(path, path, said._replace(protocol=OLDEST_PROTOCOL))
        with pytest.raises(GoHostError, match=f"implements RPCChainVM protocol version {OLDEST_PROTOCOL}"):
            host.call("launch", plugin=str(plugin), count=1)
        cache.put(path, path, said)
