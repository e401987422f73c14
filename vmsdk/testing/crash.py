"""Runs a scenario repeatedly, each time with a crash of the VM at a different point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import pairwise

from vmsdk.host.errors import HostError
from vmsdk.testing.blocks import Block
from vmsdk.testing.chain import Chain
from vmsdk.testing.faults import DATABASE_WRITE, ENGINE_CALL, Point

_SHOWN_KEYS = 3


class Inconsistent(AssertionError):
    """The chain is inconsistent after a crash at *point*, or without a crash (None)."""

    def __init__(self, point: Point | None, reason: str, report: str = "") -> None:
        self.point = point
        where = "without a crash" if point is None else f"after a crash {point}"
        super().__init__(f"inconsistent {where}: {reason}" + (f"\n{report}" if report else ""))


def crash_test(
    scenario: Callable[[Chain], object],
    make_chain: Callable[[], Chain],
    *,
    check: Callable[[Chain], object] = lambda chain: None,
) -> list[Point]:
    """Run *scenario* once for each point at which the VM can crash; returns these points.

    *make_chain* returns a new chain that is not started, like the fixture of that name. The VM
    crashes before and after each write to the database, and after each call of its node, the start
    of the VM included. Then it is started again. The chain must have each block that was accepted,
    and each block below its last one; a new VM that executes these blocks must store the same data;
    and *check* must pass, which may continue the chain. Raises `Inconsistent` for the first point
    at which any of this fails.
    """
    with ExitStack() as resources:
        whole = resources.enter_context(make_chain())
        scenario(whole)
        counts = whole.faults.reached.copy()
        _check_all(None, whole, make_chain, check)
    points = [
        *(
            Point(DATABASE_WRITE, number + 1, when)
            for number in range(counts[DATABASE_WRITE])
            for when in ("before", "after")
        ),
        *(Point(ENGINE_CALL, number + 1, "after") for number in range(counts[ENGINE_CALL])),
    ]
    for point in points:
        _crash_once(point, scenario, make_chain, check)
    return points


def _crash_once(
    point: Point,
    scenario: Callable[[Chain], object],
    make_chain: Callable[[], Chain],
    check: Callable[[Chain], object],
) -> None:
    chain = make_chain()
    try:
        chain.crash_at(*point)
        try:
            chain.start()
            scenario(chain)
        except Exception:
            # A VM that has crashed may fail the scenario in any way.
            if chain.faults.crashed_at is None:
                raise
        promised = chain.accepted
        chain.faults.clear()
        try:
            chain.restart()
        except HostError as error:
            raise Inconsistent(point, f"the VM does not start again: {error}", _report(chain)) from error
        if promised and promised[-1].height > chain.height:
            raise Inconsistent(
                point,
                f"block {promised[-1].height} was accepted, but the last accepted block is {chain.height}",
                _report(chain),
            )
        for block in promised:
            if chain.block_at(block.height) != block:
                raise Inconsistent(
                    point, f"the accepted block {block!r} was replaced by another", _report(chain)
                )
        _check_all(point, chain, make_chain, check)
    finally:
        chain.close()


def _check_all(
    point: Point | None, chain: Chain, make_chain: Callable[[], Chain], check: Callable[[Chain], object]
) -> None:
    try:
        check_blocks(chain)
        other = make_chain()
        other.use_this_process()
        check_replay(chain, other)
        check(chain)
    except (AssertionError, HostError, LookupError) as error:
        raise Inconsistent(point, str(error) or repr(error), _report(chain)) from error


def check_blocks(chain: Chain) -> None:
    """Check that the VM finds its accepted blocks by height, and that each extends the one before.

    Raises `AssertionError`.
    """
    blocks = chain.blocks()
    if not blocks or blocks[-1] != chain.last:
        raise AssertionError(f"the VM does not find its last accepted block, {chain.last!r}, by its height")
    for parent, block in pairwise(blocks):
        if (block.parent_id, block.height) != (parent.id, parent.height + 1):
            raise AssertionError(f"{block!r} does not extend {parent!r}, the block below it")


def check_replay(chain: Chain, other: Chain) -> None:
    """Check that *other*, not started, stores the same when it executes the chain's blocks.

    Closes it. Does nothing if the VM has pruned blocks. Raises `AssertionError`.
    """
    with ExitStack() as resources:
        resources.callback(other.close)
        blocks = chain.blocks()
        if blocks[0].height != 0:
            return
        try:
            other.start(blocks=_raws(blocks))
        except HostError as error:
            raise AssertionError(f"another VM refuses the accepted blocks: {error}") from error
        if other.last != chain.last:
            raise AssertionError(f"another VM comes to {other.last!r}, and not to {chain.last!r}")
        compare(chain.stored, other.stored)


def compare(ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> None:
    """Raise `AssertionError` if two databases differ, with the first keys that do."""
    keys = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    if keys:
        shown = "; ".join(
            f"{key!r} is {_value(ours.get(key))} here, {_value(theirs.get(key))} there"
            for key in keys[:_SHOWN_KEYS]
        )
        raise AssertionError(f"{len(keys)} keys differ from those of a VM that executed the blocks: {shown}")


def _raws(blocks: Iterable[Block]) -> list[bytes]:
    return [block.raw for block in blocks if block.height > 0]


def _value(value: bytes | None) -> str:
    return "missing" if value is None else "0x" + value[:32].hex() + ("…" if len(value) > 32 else "")


def _report(chain: Chain) -> str:
    return "\n".join(f"--- {title}\n{text}" for title, text in chain.report())
