"""State sync between two plugins, through the host: 20,000 keys (a million by hand: `python -m
tests.process.chainsync`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from vmsdk.chain.checkpoint import CHUNK_BYTES, Manifest
from vmsdk.host.errors import HostError

from .chainsync import Nodes

pytestmark = pytest.mark.slow

KEYS = 1000
BLOCKS = 20
VALUE_BYTES = 1500
CHUNKS = 30
"""A bit over 20,000 * 1,540 bytes."""


def stored_chunks(download: Path) -> set[int]:
    """The indexes of the valid chunks in an unfinished download."""
    manifest = Manifest.from_bytes((download / "manifest").read_bytes())
    assert len(manifest.hashes) == CHUNKS
    with (download / "state").open("rb") as file:
        return {index for index in range(CHUNKS) if manifest.matches(index, file.read(CHUNK_BYTES))}


@pytest.mark.parametrize("protocol", [39, 45])
def test_a_killed_sync_goes_on_and_ends_with_the_same_state(tmp_path: Path, protocol: int) -> None:
    nodes = Nodes(tmp_path, blocks=BLOCKS, keys=KEYS, value_bytes=VALUE_BYTES, protocol=protocol)
    summary, block = nodes.fill()
    client = nodes.host("client")
    # Each honest peer has at most four requests at a time, so ten are done by then.
    nodes.kill_at = 20
    with pytest.raises(HostError):
        nodes.sync(client, summary, [block])
    client.stop()
    stored = stored_chunks(tmp_path / "client" / "sync" / "download")
    assert len(stored) >= 10
    assert nodes.lies >= 1

    nodes.kill_at = 0
    nodes.requested.clear()
    client = nodes.host("client", log=nodes.lines)
    nodes.sync(client, summary, [block])
    assert set(nodes.requested) == set(range(CHUNKS)) - stored
    assert client.chain.last_accepted.id == nodes.server.chain.last_accepted.id
    assert client.chain.get_block_id_at_height(BLOCKS - 1) is None
    expected = nodes.state(nodes.server, b"s")
    assert len(expected) == (BLOCKS + 1) * KEYS
    assert nodes.state(client, b"S") == expected
    assert client.chain.state_sync.last() == summary  # it serves what it has got
    assert client.stop() == 0
    nodes.close()
    assert "Traceback" not in nodes.lines.text
