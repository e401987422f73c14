"""A chain on `vmsdk.chain` that builds at a P-chain height, with every node's own host code."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import jsonrpc
from .gohost import BUILD_BLOCK, GoHost, GoHostError
from .nodes import Node
from .pyplugin import python_plugin

EPOCHS = "tests.process.plugins.epochs:Epochs"


def test_a_block_is_built_and_verified_at_the_p_chain_height(
    host: GoHost, node: Node, tmp_path: Path
) -> None:
    host.run(python_plugin(tmp_path, EPOCHS, node.protocol), b"genesis", b"")
    handlers = host.create_handlers()
    jsonrpc.call(handlers, "write", text="at seven")
    assert host.wait_for_event() == BUILD_BLOCK
    block = host.build(7)
    with pytest.raises(GoHostError, match="P-chain height 7, but the node verifies it at 8"):
        host.verify(block.id, 8)
    host.verify(block.id, 7)
    host.set_preference(block.id)
    host.accept(block.id)
    jsonrpc.call(handlers, "write", text="without")
    plain = host.build()
    host.verify(plain.id)
    host.set_preference(plain.id)
    host.accept(plain.id)
    assert jsonrpc.call(handlers, "heights") == {"at seven": "7", "without": "None"}
