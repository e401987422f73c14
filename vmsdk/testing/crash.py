"""Runs a scenario repeatedly, each time with a crash of the VM at a different point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

from vmsdk.host.errors import HostError
from vmsdk.testing.chain import Chain
from vmsdk.testing.faults import DATABASE_WRITE, ENGINE_CALL, Point
from vmsdk.testing.wire import changed_keys

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
    crashes before and after each write to the database, and after each call of its node, including
    those of its start. Then it is started again. The chain must have each block that was accepted,
    and each block below its last one; a new VM that executes these blocks must store the same data;
    and *check*, which may continue the chain, must pass. Raises `Inconsistent` for the first point
    at which any of this fails.
    """

    def check_all(chain: Chain) -> None:
        check_blocks(chain)
        other = make_chain()
        other.use_this_process()
        check_replay(chain, other)
        check(chain)

    with make_chain() as chain:
        scenario(chain)
        reached = chain.faults.reached.copy()
        with _consistent(None, chain):
            check_all(chain)
    points = [
        *(
            Point(DATABASE_WRITE, number + 1, when)
            for number in range(reached[DATABASE_WRITE])
            for when in ("before", "after")
        ),
        *(Point(ENGINE_CALL, number + 1, "after") for number in range(reached[ENGINE_CALL])),
    ]
    for point in points:
        with closing(make_chain()) as chain:
            _crash(chain, point, scenario)
            with _consistent(point, chain):
                _check_restart(chain)
                check_all(chain)
    return points


@contextmanager
def _consistent(point: Point | None, chain: Chain) -> Iterator[None]:
    """Raise `Inconsistent`, with the chain's report, if the block fails."""
    try:
        yield
    except (AssertionError, HostError, LookupError) as error:
        report = "\n".join(f"--- {title}\n{text}" for title, text in chain.report())
        raise Inconsistent(point, str(error) or repr(error), report) from error


def _crash(chain: Chain, point: Point, scenario: Callable[[Chain], object]) -> None:
    chain.crash_at(*point)
    try:
        chain.start()
        scenario(chain)
    except Exception:
        # A VM that has crashed may fail the scenario in any way.
        if chain.faults.crashed_at is None:
            raise


def _check_restart(chain: Chain) -> None:
    """Start the VM again, and check that it has the accepted blocks. Raises `AssertionError`."""
    accepted = chain.accepted
    chain.faults.clear()
    try:
        chain.restart()
    except HostError as error:
        raise AssertionError(f"the VM does not start again: {error}") from error
    if accepted and accepted[-1].height > chain.height:
        raise AssertionError(
            f"block {accepted[-1].height} was accepted, but the last accepted block is {chain.height}"
        )
    for block in accepted:
        if chain.block_at(block.height) != block:
            raise AssertionError(f"the accepted block {block!r} was replaced by another")


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
    with closing(other):
        blocks = chain.blocks()
        if blocks[0].height != 0:
            return
        try:
            other.start(blocks=[block.raw for block in blocks[1:]])
        except HostError as error:
            raise AssertionError(f"another VM refuses the accepted blocks: {error}") from error
        if other.last != chain.last:
            raise AssertionError(f"another VM reaches {other.last!r}, not {chain.last!r}")
        compare(chain.stored, other.stored)


def compare(ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> None:
    """Raise `AssertionError` if two databases differ, with the first keys that do."""
    keys = changed_keys(ours, theirs)
    if keys:
        shown = "; ".join(
            f"{key!r} is {_value(ours.get(key))} here, {_value(theirs.get(key))} there"
            for key in keys[:_SHOWN_KEYS]
        )
        raise AssertionError(f"{len(keys)} keys differ from those of a VM that executed the blocks: {shown}")


def _value(value: bytes | None) -> str:
    return "missing" if value is None else "0x" + value[:32].hex() + ("…" if len(value) > 32 else "")
