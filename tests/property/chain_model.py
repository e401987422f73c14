"""A chain on random trees of blocks, beside a model of plain dicts.

python -m tests.property.chain_model --steps 1000000
"""

from __future__ import annotations

import argparse
import random
import time
from contextlib import ExitStack
from typing import Any

import vmsdk
from tests.unit.chain.engine import Engine
from vmsdk import chain
from vmsdk.memorydb import MemoryDatabase

KEYS = [bytes([letter]) * length for letter in b"abc" for length in range(1, 6)]

# A block may hold few, so that transactions are spread over blocks.
LIMITS = chain.Limits(
    block_bytes=400, transaction_bytes=100, snapshot_seconds=1e9, snapshot_blocks=10**9, cache_bytes=2_000
)

Content = dict[bytes, bytes]


class Script(chain.Chain):
    """Transactions are lines of `key=value`, `-key` and `>prefix`, which counts the keys."""

    limits = LIMITS

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        for line in tx.split(b"\n")[1:]:
            if line[:1] == b"-":
                del state[line[1:]]
            elif line[:1] == b">":
                state[b"n" + line[1:]] = b"%d" % len(list(state.scan(line[1:])))
            elif line == b"!":
                raise chain.Invalid("refused")
            else:
                key, value = line.split(b"=")
                state[key] = value


def apply(content: Content, tx: bytes) -> Content:
    """The model: what a transaction makes of the state."""
    content = dict(content)
    for line in tx.split(b"\n")[1:]:
        if line[:1] == b"-":
            content.pop(line[1:], None)
        elif line[:1] == b">":
            content[b"n" + line[1:]] = b"%d" % sum(key.startswith(line[1:]) for key in content)
        else:
            key, value = line.split(b"=")
            content[key] = value
    return content


class Trial:
    """Takes random steps, and compares the chain with the model after each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.engine = Engine(Script(), MemoryDatabase())
        self.contents: dict[bytes, Content] = {self.engine.last.id: {}}
        self.heights: list[bytes] = [self.engine.last.id]
        self.snapshots: list[tuple[chain.State, ExitStack, Content]] = []
        self.number = 0
        self.steps: list[tuple[Any, float]] = [
            (self.submit, 8),
            (self.submit_invalid, 1),
            (self.build, 6),
            (self.prefer, 4),
            (self.accept, 3),
            (self.open_snapshot, 2),
            (self.close_snapshot, 2),
            (self.restart, 0.1),
        ]

    def run(self, steps: int) -> None:
        weights = [weight for _, weight in self.steps]
        chosen = self.random.choices([step for step, _ in self.steps], weights, k=steps)
        for step in chosen:
            step()
            self.compare()
        self.engine.stop()

    # Steps ----------------------------------------------------------------------------------------

    def submit(self) -> None:
        self.number += 1
        lines = [b"%d" % self.number]
        for _ in range(self.random.randrange(1, 4)):
            key = self.random.choice(KEYS)
            lines.append(
                self.random.choice((b"-" + key, b">" + key[:2], key + b"=%d" % self.number, key + b"="))
            )
        self.engine.vm.submit(b"\n".join(lines))

    def submit_invalid(self) -> None:
        self.number += 1
        key = self.random.choice(KEYS)
        try:
            self.engine.vm.submit(b"%d\n%s=lost\n!" % (self.number, key))
        except chain.Invalid:
            return
        raise AssertionError("the transaction was not refused")

    def build(self) -> None:
        if len(self.engine.memory.processing) > 20:
            return
        has_work = self.engine.vm.has_pending_work()
        try:
            block = self.engine.build()
        except vmsdk.NothingToBuild:
            assert not has_work
            return
        assert has_work
        content = self.contents[block.parent_id]
        for tx in block.block.transactions:
            content = apply(content, tx)
        self.contents[block.id] = content
        if self.random.random() < 0.2:
            # Verified once more from its bytes, as a peer does.
            fresh = self.engine.vm.parse_block(block.raw)
            fresh.verify()
            assert fresh.executed.state.writes == block.executed.state.writes

    def prefer(self) -> None:
        tips = (self.engine.last, *self.engine.memory.processing)
        self.engine.prefer(self.random.choice(tips))

    def accept(self) -> None:
        children = [
            block for block in self.engine.memory.processing if block.parent_id == self.engine.last.id
        ]
        if children:
            block = self.random.choice(children)
            for rejected in self.engine.accept(block):
                self.contents.pop(rejected.id)
            self.heights.append(block.id)

    def open_snapshot(self) -> None:
        if len(self.snapshots) < 8:
            stack = ExitStack()
            state = stack.enter_context(self.engine.vm.snapshot())
            self.snapshots.append((state, stack, self.contents[self.engine.last.id]))

    def close_snapshot(self) -> None:
        if self.snapshots:
            place = self.random.randrange(len(self.snapshots))
            self.snapshots.pop(place)[1].close()

    def restart(self) -> None:
        for _, stack, _ in self.snapshots:
            stack.close()
        self.snapshots = []
        self.engine.stop()
        last = self.engine.last.id
        self.engine = Engine(Script(), self.engine.database)
        assert self.engine.last.id == last
        self.contents = {last: self.contents[last]}

    # Comparing ------------------------------------------------------------------------------------

    def compare(self) -> None:
        engine = self.engine
        place = self.random.randrange(3)
        if place == 0:
            self.check(engine.vm.accepted, self.contents[engine.last.id])
        elif place == 1 and engine.memory.processing:
            block: Any = self.random.choice(engine.memory.processing)
            self.check(block.executed.state, self.contents[block.id])
        elif place == 2 and self.snapshots:
            state, _, content = self.random.choice(self.snapshots)
            self.check(state, content)
        height = self.random.randrange(len(self.heights))
        assert engine.vm.get_block_id_at_height(height) == self.heights[height]

    def check(self, state: chain.State, content: Content) -> None:
        prefix = self.random.choice((b"", b"a", b"bb", b"n", b"z"))
        start = self.random.choice((b"", b"a", b"bb"))
        expected = sorted(
            (key, value) for key, value in content.items() if key.startswith(prefix) and key >= prefix + start
        )
        assert list(state.scan(prefix, start=start)) == expected
        limit = self.random.randrange(3)
        assert list(state.scan(prefix, start=start, limit=limit)) == expected[:limit]
        keys = self.random.sample(KEYS, 3)
        assert [state.get(key) for key in keys] == [content.get(key) for key in keys]
        assert state.get_many(keys) == [content.get(key) for key in keys]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    for part in range(max(1, arguments.steps // 10_000)):
        Trial(arguments.seed + part).run(min(arguments.steps, 10_000))
        print(f"{(part + 1) * 10_000:,} steps, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
