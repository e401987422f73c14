"""A chain that builds at a P-chain height, as a plugin at old and new protocol versions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmsdk.host.http import HTTPFront
from vmsdk.host.node import Host
from vmsdk.ids import NodeID
from vmsdk.protocol import protocol

from .devcommand import call
from .plugin import PLUGINS


@contextmanager
def epochs(version: int, database: Path) -> Iterator[tuple[Host, str]]:
    """The running chain, and the URL of its handler."""
    command = [sys.executable, str(PLUGINS / "epochs.py"), str(version)]
    front = HTTPFront(protocol(version), NodeID(bytes(20)))
    with Host(command, protocol=version, database=database) as host:
        chain_id = host.config.chain_id
        front.start()
        try:
            assert front.add_chain(chain_id, ["epochs"], host.chain.handlers) == []
            front.set_normal_op(chain_id, True)
            yield host, f"http://{front.address}/ext/bc/{chain_id}"
        finally:
            front.stop()


@pytest.mark.parametrize("version", [35, 39, 43, 45])
def test_the_rules_see_the_height_of_the_p_chain_on_every_protocol(version: int, tmp_path: Path) -> None:
    database = tmp_path / "chain.db"
    with epochs(version, database) as (host, url):
        host.services.validators.set_heights(current=9, minimum=7)
        for text in ("a", "b", "c", "d"):
            call(url, "write", text=text)
            host.chain.produce()
        # The node passes no height up to the first block that it wraps.
        assert call(url, "heights") == {"a": "None", "b": "None", "c": "7", "d": "7"}
        last = host.chain.last_accepted
    with epochs(version, database) as (host, url):
        assert host.chain.last_accepted.raw == last.raw
        assert call(url, "heights")["d"] == "7"
