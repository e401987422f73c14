"""A plugin on `vmsdk.chain` is killed again and again, and always finds its chain consistent.

python -m tests.process.chaincrashes --kills 500
"""

from __future__ import annotations

import argparse
import itertools
import random
import threading

from vmsdk.host.errors import HostError
from vmsdk.testing import Chain

from .plugins.ledger import Ledger


def make_chain() -> Chain:
    return Chain(Ledger, process=True)


def make_blocks(chain: Chain, blocks: int) -> None:
    for _ in range(blocks):
        height = chain.height + 1
        chain.produce(*(b"entry %d of block %d" % (each, height) for each in range(3)))


def audit(chain: Chain) -> int:
    """The VM finds state, receipts and index consistent, and can go on. Returns its height."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "ledger.audit", "params": {}}
    reply = chain.http.post(chain.url(), json=call).json()
    assert reply.get("result", {}).get("height") == chain.height, reply
    make_blocks(chain, 1)
    return chain.height


def kill_at_random_moments(kills: int, seed: int = 0) -> int:
    """Kill the VM *kills* times while it makes blocks; returns the height that it has reached."""
    moments = random.Random(seed)
    with make_chain() as chain:
        for _ in range(kills):
            killer = threading.Timer(moments.uniform(0, 0.5), chain.kill)
            killer.start()
            try:
                for _ in itertools.count():
                    make_blocks(chain, 1)
            except HostError:
                pass
            finally:
                killer.join()
            promised = chain.accepted
            chain.restart()
            assert chain.height >= promised[-1].height
            assert chain.block_at(promised[-1].height) == promised[-1]
            audit(chain)
        return chain.height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    height = kill_at_random_moments(arguments.kills, arguments.seed)
    print(f"{arguments.kills} kills, {height} blocks, consistent")


if __name__ == "__main__":
    main()
