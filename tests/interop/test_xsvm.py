"""xsvm in Python and in Go: the same bytes, IDs, senders, verdicts and states.

`VMSDK_XSVM_CHAINS` is the number of random chains, each with 250 transactions and 250 blocks.
"""

from __future__ import annotations

import os

import pytest

from .build import NODES_WITH_PEER
from .nodes import Node

pytest.importorskip("btclib_secp256k1", reason="examples/xsvm needs btclib-secp256k1")
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


@pytest.mark.parametrize("node", NODES_WITH_PEER, ids=lambda node: f"node-{node.name}")
@pytest.mark.parametrize(
    ("weights", "signers", "is_valid"),
    [
        ([2, 1], [0], True),
        ([666, 334], [0], False),
        ([667, 333], [0], True),
        ([300, 334, 366], [0, 2], False),
        ([300, 333, 367], [0, 2], True),
        ([10**18 + 1, 2 * 10**18 - 1], [1], False),
        ([10**18, 2 * 10**18], [1], True),
        ([1, 1, 98], [0, 1], False),
    ],
)
def test_an_import_needs_exactly_two_thirds_of_the_weight(
    node: Node, weights: list[int], signers: list[int], is_valid: bool
) -> None:
    chain = Chain(0, weights)
    ours = Ours(chain)
    raw = chain.imported_by(signers)
    with Judge(node) as judge:
        judge.call("genesis", **chain.setup())
        theirs = judge.call("block", bytes=raw.hex(), height=1, skip=False)
    error = theirs.pop("error", "")
    assert (not error, ours.block(raw, 1, False)[0]) == (is_valid, theirs), error
