"""A check for tests that a chain's rules have the same results on every machine."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vmsdk.chain.candidate import Candidate
from vmsdk.chain.chain import Chain
from vmsdk.chain.replica import DELAY_S, HASH_SEED, TIME_ZONE
from vmsdk.context import ChainView, Context
from vmsdk.errors import InvalidBlock, VMError
from vmsdk.ids import ID
from vmsdk.upgrades import Upgrades

_MODULE = "vmsdk_chain_under_test"


class Nondeterministic(VMError, AssertionError):
    """The block at *height* has different effects in a second process."""

    def __init__(self, height: int, reason: str) -> None:
        self.height = height
        super().__init__(
            f"block {height} is refused by a second process under another hash seed and time zone, "
            f"{DELAY_S:g} s later: {reason}. Look for clocks, randomness, sets, hash(), id(), floats, "
            "and state kept on self"
        )


def check_determinism(
    chain: type[Chain],
    transactions: Iterable[Any],
    *,
    genesis: bytes = b"",
    upgrade: bytes = b"",
    per_block: int = 1,
) -> None:
    """Build blocks of *per_block* transactions, and execute them again in a second process.

    The second process imports the class, so it must be defined at the top level of its module.
    *upgrade* is the content of the chain's upgrade file. Raises `Nondeterministic` at the first
    block that differs, `Invalid` for a transaction that is refused.
    """
    single = _Single(chain(), genesis, upgrade)
    raws: list[bytes] = []
    waiting = 0
    for waiting, transaction in enumerate(transactions, 1):
        single.vm.submit(transaction)
        if waiting % per_block == 0:
            raws.append(single.produce())
    if waiting % per_block:
        raws.append(single.produce())
    single.vm.shutdown()
    order = {
        "module": chain.__module__,
        "file": getattr(sys.modules[chain.__module__], "__file__", None),
        "class": chain.__qualname__,
        "path": sys.path,
        "genesis": genesis.hex(),
        "upgrade": upgrade.hex(),
        "blocks": [raw.hex() for raw in raws],
        "not_before": time.time() + DELAY_S,
    }
    package_path = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import _follow; _follow()"],
        input=json.dumps(order),
        env={**os.environ, "PYTHONHASHSEED": str(HASH_SEED), "TZ": TIME_ZONE, "PYTHONPATH": package_path},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        result = json.loads(done.stdout.rpartition("\n")[2])
    except ValueError:
        raise VMError(
            f"the second process could not execute the blocks of {chain.__qualname__}: its traceback is above"
        ) from None
    if result is not None:
        raise Nondeterministic(result["height"], result["reason"])


class _Single(ChainView):
    """Drives a chain on an empty database: each block is accepted at once."""

    def __init__(self, vm: Chain, genesis: bytes, upgrade: bytes) -> None:
        self.vm = vm
        vm.ctx = Context(chain=self, upgrades=Upgrades.of(vm, upgrade))
        vm.initialize(vm.ctx, genesis, upgrade, b"")

    def get(self, block_id: ID) -> Candidate:
        return self.vm.get_block(block_id)

    @property
    def preferred(self) -> Candidate:
        return self.vm.get_block(self.vm.last_accepted())

    @property
    def processing(self) -> Sequence[Candidate]:
        return ()

    def produce(self) -> bytes:
        raw = self.vm.build_block().raw
        self.follow(raw)
        return raw

    def follow(self, raw: bytes) -> None:
        block = self.vm.parse_block(raw)
        try:
            block.verify()
        except InvalidBlock as error:
            raise Nondeterministic(block.height, error.reason) from None
        block.accept()


def _follow() -> None:
    """Run the second process: execute the blocks on standard input."""
    order = json.load(sys.stdin)
    time.sleep(max(0.0, order["not_before"] - time.time()))
    sys.path[:] = order["path"]
    owner: Any = load_module(order["module"], order["file"])
    for name in order["class"].split("."):
        owner = getattr(owner, name)
    result = None
    try:
        single = _Single(owner(), bytes.fromhex(order["genesis"]), bytes.fromhex(order["upgrade"]))
        for raw in order["blocks"]:
            single.follow(bytes.fromhex(raw))
        single.vm.shutdown()
    except Nondeterministic as error:
        result = {"height": error.height, "reason": str(error.__context__ or error)}
    print("\n" + json.dumps(result), end="")


def load_module(name: str, file: str | None) -> Any:
    """Import the chain's module: from its file, if it is a test whose name can't be imported."""
    if name != "__main__":
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    if file is None:
        raise VMError(f"the module {name} has no file, so a second process can't import it")
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    spec.loader.exec_module(module)
    return module
