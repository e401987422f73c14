"""The token chain: transfers through `vmsdk dev`; what blocks, admission and snapshots cost.

Transfers are signed before they are timed. Each sender sends in the order of its nonces.
"""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import contenders
from benchmarks.httpload import FullLoad
from benchmarks.table import Row, compare, markdown
from vmsdk.chain.checks import Checks
from vmsdk.chain.keys import Ed25519Key
from vmsdk.context import Context
from vmsdk.host.node import Host
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.state import State

FOLDER = contenders.ROOT / "examples" / "tokens"
sys.path.insert(0, str(FOLDER))

from tokensvm import ACCOUNTS, MIN_FEE, TokensVM, Transfer  # noqa: E402

SENDERS = 50
BLOCK_TRANSFERS = 5_000
DEV_TRANSFERS = 20_000
BATCH = 250
"""Transfers in one request."""
ROUNDS = 5
READERS = 2
BALANCE = 10**12

KEYS = [Ed25519Key(bytes([1]) * 28 + number.to_bytes(4, "big")) for number in range(SENDERS)]
GENESIS = json.dumps({key.address.hex(): BALANCE for key in KEYS}).encode()
CHAIN_ID = ID(bytes(32))


def signed(count: int, chain_id: ID = CHAIN_ID, first_nonce: int = 0) -> list[Transfer]:
    """Transfers of all senders in turns, each to the next sender."""
    return [
        Transfer(KEYS[(index + 1) % SENDERS].address, 1, MIN_FEE, first_nonce + index // SENDERS).sign(
            KEYS[index % SENDERS], chain_id
        )
        for index in range(count)
    ]


# In this process ----------------------------------------------------------------------------------


class Chain:
    """A token chain, driven as the engine drives it."""

    def __init__(self) -> None:
        self.vm = TokensVM()
        self._memory = BlockMemory(self.vm)
        self.vm.ctx = Context(db=MemoryDatabase(), chain=self._memory, notify=lambda: None, chain_id=CHAIN_ID)
        self.vm.initialize(self.vm.ctx, GENESIS, b"", b"")
        self.vm.set_state(State.NORMAL_OP)
        self._memory.preferred_id = self._memory.load_last_accepted().id

    def build(self) -> bytes:
        """Build a block of waiting transactions."""
        raw: bytes = self.vm.build_block().raw
        return raw

    def verify(self, raw: bytes) -> Any:
        """Parse and verify a block, as one from a peer."""
        block_id, block = self._memory.resolve(raw)
        block.verify()
        self._memory.remember_verified(block_id, block)
        return block

    def accept(self, block: Any) -> None:
        """Prefer and accept a block that was verified."""
        self._memory.preferred_id = block.id
        block.accept()
        self._memory.accepted(block.id, block)


def seconds(work: Callable[[], object]) -> float:
    """How long *work* takes."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


def block_of(transfers: list[Transfer]) -> bytes:
    """A block of the chain's first transfers, built elsewhere."""
    chain = Chain()
    for each in transfers:
        chain.vm.submit(each)
    raw = chain.build()
    held = len(chain.verify(raw).block.transactions)
    chain.vm.shutdown()
    if held != len(transfers):
        raise RuntimeError(f"the block holds {held} of {len(transfers)} transfers")
    return raw


def verifying() -> Row:
    """A block of 5,000 transfers vs. checking their signatures as the chain does."""
    transfers = signed(BLOCK_TRANSFERS)
    raw = block_of(transfers)
    encodings = [each.raw for each in transfers]
    ids = [each.id for each in transfers]

    def whole() -> float:
        chain = Chain()
        taken = seconds(lambda: chain.verify(raw))
        chain.vm.shutdown()
        return taken * 1e3

    def signatures() -> float:
        fresh = [Transfer.from_bytes(each) for each in encodings]
        checks = Checks(lambda transfer: transfer.check(CHAIN_ID))
        taken = seconds(lambda: checks.many(ids, fresh))
        checks.close()
        return taken * 1e3

    name = f"verifying a block of {BLOCK_TRANSFERS} transfers vs. checking their signatures"
    return compare(name, "ms", whole, signatures, goal="at most 1.8", rounds=ROUNDS)


def admission() -> Row:
    """Admitting transfers vs. checking their signatures by one thread."""
    transfers = signed(BLOCK_TRANSFERS)
    encodings = [each.raw for each in transfers]

    def admit() -> float:
        chain = Chain()
        taken = seconds(lambda: [chain.vm.submit(each) for each in encodings])
        chain.vm.shutdown()
        return len(encodings) / taken

    def signatures() -> float:
        fresh = [Transfer.from_bytes(each) for each in encodings]

        def check() -> None:
            for each in fresh:
                each.check(CHAIN_ID)

        return len(fresh) / seconds(check)

    name = "admission of transfers vs. checking their signatures"
    return compare(name, "/s", admit, signatures, rounds=ROUNDS)


def blocks_of_100(count: int) -> list[bytes]:
    """The first blocks of the chain, built elsewhere."""
    builder, raws = Chain(), []
    for number in range(count):
        for each in signed(100, first_nonce=number * 2):
            builder.vm.submit(each)
        raws.append(builder.build())
        builder.accept(builder.verify(raws[-1]))
    builder.vm.shutdown()
    return raws


def snapshots() -> Row:
    """Reading accounts from snapshots while blocks of 100 transfers are verified and accepted."""
    chain = Chain()
    ended, reads = threading.Event(), [0] * READERS

    def read(number: int) -> None:
        while not ended.is_set():
            with chain.vm.snapshot() as state:
                accounts = ACCOUNTS.of(state)
                for key in KEYS[:10]:
                    accounts[key.address]
            reads[number] += 10

    def rate(work: Callable[[], object]) -> float:
        before = sum(reads)
        taken = seconds(work)
        return (sum(reads) - before) / taken

    def accept(raws: list[bytes]) -> None:
        for raw in raws:
            chain.accept(chain.verify(raw))

    raws = blocks_of_100(120)
    accept(raws[:20])
    readers = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for reader in readers:
        reader.start()
    idle = rate(lambda: ended.wait(2))
    busy = rate(lambda: accept(raws[20:]))
    ended.set()
    for reader in readers:
        reader.join()
    chain.vm.shutdown()
    return Row("snapshot reads while the chain accepts blocks vs. idle", busy, idle, "/s", busy / idle)


# As a plugin --------------------------------------------------------------------------------------


def engine_beside_snapshots() -> list[Row]:
    """The engine's calls for blocks of 100 transfers, under full load of HTTP snapshot reads."""
    raws = blocks_of_100(320)
    with Host(contenders.tokens(), protocol=contenders.PROTOCOL, genesis=GENESIS, chain_id=CHAIN_ID) as host:
        host.chain.end_events()
        [address] = host.chain.handlers.values()
        full_load = FullLoad("snapshot", address)

        def p99_ms(raws: list[bytes]) -> float:
            took = []
            for raw in raws:
                block = host.chain.parse_block(raw)
                for call in (host.chain.verify, host.chain.accept):
                    took.append(seconds(partial(call, block)) * 1e3)
            return statistics.quantiles(took, n=100)[98]

        p99_ms(raws[:20])
        idle = p99_ms(raws[20:170])
        with full_load.run():
            busy = p99_ms(raws[170:])
    return [
        Row(
            "p99 of an engine's verify or accept of 100 transfers under full load of reads vs. idle",
            busy,
            idle,
            "ms",
            busy / idle,
        ),
        Row("snapshot reads by HTTP at the same time", full_load.rates[0], 0, "/s", 0),
    ]


# Through dev --------------------------------------------------------------------------------------


@contextmanager
def dev(*options: str) -> Iterator[str]:
    """`vmsdk dev` with the token chain; the URL of its app."""
    with tempfile.TemporaryDirectory() as folder:
        genesis = Path(folder) / "genesis.json"
        genesis.write_bytes(GENESIS)
        command = [sys.executable, "-m", "vmsdk", "dev", str(FOLDER / "tokensvm.py"), "--port", "0"]
        command += ["--genesis", str(genesis), *options]
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            try:
                found = None
                while found is None:
                    line = process.stdout.readline()
                    if not line:
                        raise RuntimeError("vmsdk dev ended before it served the chain")
                    found = re.search(r"URL: (\S+)/", line)
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield found[1]
            finally:
                process.send_signal(signal.SIGINT)
                process.wait()


def request(url: str, body: object = None) -> Any:
    """The JSON that *url* returns."""
    data = None if body is None else json.dumps(body).encode()
    posted = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(posted) as response:
        return json.load(response)


def through_dev(*options: str) -> float:
    """Transfers a second, from the first request until the last block is accepted."""
    with dev(*options) as url:
        chain_id = ID.from_string(request(f"{url}/chain")["chain_id"])
        raws = [each.raw.hex() for each in signed(DEV_TRANSFERS, chain_id)]
        begun = perf_counter()
        for start in range(0, len(raws), BATCH):
            while True:
                results = request(f"{url}/transfers", {"raw": raws[start : start + BATCH]})
                if all(each["error"] is None for each in results):
                    break
        last = f"{url}/transfers/{results[-1]['id']}"
        while request(last)["status"] != "accepted":
            pass
        return DEV_TRANSFERS / (perf_counter() - begun)


def run() -> list[Row]:
    """Measure each in turn."""
    admitted = admission()
    alone, shadowed = through_dev("--alone"), through_dev()
    return [
        verifying(),
        admitted,
        snapshots(),
        *engine_beside_snapshots(),
        Row(
            "transfers through vmsdk dev --alone vs. checking their signatures",
            alone,
            admitted.floor,
            "/s",
            alone / admitted.floor,
        ),
        Row("transfers through vmsdk dev vs. --alone", shadowed, alone, "/s", shadowed / alone),
    ]


if __name__ == "__main__":
    print(markdown(run()))
