"""xsvm in Python and in Go: the same bytes, IDs, senders, verdicts and states.

`VMSDK_XSVM_CHAINS` is the number of random chains, each with 250 transactions and 250 blocks.
"""

from __future__ import annotations

import os

import pytest

from .build import NODES_WITH_PEER
from .nodes import Node

pytest.importorskip("coincurve", reason="examples/xsvm needs coincurve")
pytest.importorskip("py_arkworks_bls12381", reason="warp needs py_arkworks_bls12381")

from .xsvm import Chain, Judge, Ours

CHAINS = int(os.environ.get("VMSDK_XSVM_CHAINS", "2"))
CASES = 250


@pytest.mark.parametrize("node", NODES_WITH_PEER, ids=lambda node: f"node-{node.name}")
@pytest.mark.parametrize("seed", range(CHAINS))
def test_random_transactions_and_blocks_are_judged_alike(node: Node, seed: int) -> None:
    chain = Chain(seed)
    ours = Ours(chain)
    outcomes = {"undecodable": 0, "invalid": 0, "valid": 0}
    with Judge(node) as judge:
        assert judge.call("genesis", **chain.setup()) == ours.genesis()
        for number in range(CASES):
            raw = chain.transaction(ours.accepted).raw
            raw = chain.broken(raw) if chain.random.random() < 0.4 else raw
            theirs = judge.call("transaction", bytes=raw.hex())
            assert ours.transaction(raw) == (None if "error" in theirs else theirs), raw.hex()

            raw = chain.block(ours.accepted)
            height = chain.random.choice([None, *[1] * 9])
            skip = chain.random.random() < 0.3
            theirs = judge.call("block", bytes=raw.hex(), height=height, skip=skip)
            error = theirs.pop("error", "")
            result, why = ours.block(raw, height, skip)
            if error.startswith("undecodable"):
                assert result is None, f"block {number}, {raw.hex()}: {error}"
            else:
                assert (result, bool(why)) == (theirs, bool(error)), f"block {number}: {error!r}, {why!r}"
            outcomes[error.partition(":")[0] or "valid"] += 1
    assert min(outcomes.values()) > CASES // 10, outcomes
