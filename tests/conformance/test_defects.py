"""Each planted defect is found by the check that it names, and the good VM passes them all."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conformance import defects
from tests.conformance.goodvm import GoodVM, command
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Skipped, all_checks
from vmsdk.testing.hook import Hook
from vmsdk.testing.run import Verdict, run_checks
from vmsdk.testing.wire import events_ended

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HOOK = Hook.from_file(Path(__file__).parent / "hooks" / "goodvm.py")
CHECKS = {check.name: check for check in all_checks()}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """A defect may leave a connection half-open: its socket must not be garbage of a later test."""
    yield
    gc.collect()


def planted() -> dict[str, type[GoodVM]]:
    """Every defect, by what starts it."""
    found: dict[str, type[GoodVM]] = {}
    for module in pkgutil.iter_modules(defects.__path__):
        members = vars(importlib.import_module(f"{defects.__name__}.{module.name}"))
        for name, member in members.items():
            if isinstance(member, type) and issubclass(member, GoodVM) and "found_by" in vars(member):
                found[f"{module.name}:{name}"] = member
    return {name: defect for name, defect in found.items() if defect is not GoodVM}


DEFECTS = planted()
AREAS_WITH_DEFECTS = sorted({defect.found_by.partition(".")[0] for defect in DEFECTS.values()})


# A good VM is not at fault if the machine is busy.
PATIENCE_S = 240.0


def bench(protocol: int, defect: str = "") -> Bench:
    return Bench(command(protocol, defect), protocol=protocol, hook=HOOK)


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_by_its_check(defect: str) -> None:
    planted_class = DEFECTS[defect]
    check = CHECKS[planted_class.found_by]
    assert planted_class.at_protocol in check.protocols
    (result,) = run_checks(bench(planted_class.at_protocol, defect), [check])
    assert result.verdict is Verdict.VIOLATED, result


def test_each_check_has_a_defect() -> None:
    found = {defect.found_by for defect in DEFECTS.values()}
    assert [
        name for name, check in CHECKS.items() if check.area in AREAS_WITH_DEFECTS and name not in found
    ] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", [35, 39, 45] if os.environ.get("VMSDK_TEST_EVERY_PROTOCOL") else [45])
@pytest.mark.parametrize("area", AREAS_WITH_DEFECTS)
def test_the_good_vm_passes(area: str, protocol: int) -> None:
    checks = [check for check in CHECKS.values() if check.area == area and not check.slow]
    spoken = [check for check in checks if protocol in check.protocols]
    results = run_checks(bench(protocol), spoken, timeout_s=PATIENCE_S)
    assert [result for result in results if result.verdict not in (Verdict.PASSED, Verdict.SKIPPED)] == []
    skipped = {result.why for result in results if result.verdict is Verdict.SKIPPED}
    assert not any("--hook" in why or "mempool takes no more" in why for why in skipped)


@pytest.mark.slow
def test_a_vm_that_builds_by_itself_needs_no_hook_from_the_first_check_on() -> None:
    names = ("events.work-is-reported-until-it-is-done", "heights.accepted-blocks-are-found")
    alone = Bench(command(45, "events:BuildsByItself"), protocol=45)
    results = run_checks(alone, [CHECKS[name] for name in names])
    assert [(result.verdict, result.why) for result in results] == [(Verdict.PASSED, "")] * len(names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vm", "check"),
    [
        ("blocks:PrunesLater", "blocks.accepted-block-is-not-accepted-again"),
        ("blocks:BlocksOf1900KiB", "ancestors.newest-comes-first"),
        ("blocks:BlocksOf1900KiB", "blocks.batch-keeps-the-order"),
        ("blocks:BlocksOf1900KiB", "blocks.wrong-heights-and-parents-are-invalid"),
        ("blocks:BlocksOf1900KiB", "durability.blocks-survive-a-restart"),
        ("blocks:BlocksOf1900KiB", "limits.blocks-fit-into-a-message"),
        ("blocks:OneBlockAtATime", "blocks.blocks-follow-one-that-is-ahead"),
        ("blocks:OneBlockAtATime", "blocks.reading-changes-no-build"),
        ("blocks:TakesWhatItBuilds", "blocks.reading-changes-no-build"),
        ("blocks:TakesWhatItBuilds", "blocks.undecided-work-is-not-built-again"),
        ("http:Streams", "limits.descriptors-stay-few"),
        ("http:Streams", "limits.memory-stays-flat"),
        ("limits:SmallMempool", "limits.blocks-fit-into-a-message"),
        ("limits:SmallMempool", "limits.calls-of-all-kinds-at-once"),
    ],
)
def test_a_vm_without_a_defect_passes(vm: str, check: str) -> None:
    (result,) = run_checks(bench(45, vm), [CHECKS[check]], timeout_s=PATIENCE_S)
    assert result.verdict is Verdict.PASSED, result


@pytest.mark.slow
def test_a_vm_that_builds_one_block_at_a_time_is_legal() -> None:
    (result,) = run_checks(
        bench(45, "blocks:OneBlockAtATime"), [CHECKS["ancestors.undecided-blocks-have-ancestors"]]
    )
    assert (result.verdict, result.why) == (Verdict.SKIPPED, "the VM builds no block on an undecided one")


def test_a_check_that_is_skipped_gives_the_events_back() -> None:
    calls: list[str] = []
    host: Any = SimpleNamespace(
        process=SimpleNamespace(alive=True),
        chain=SimpleNamespace(
            end_events=lambda: calls.append("end"), resume_events=lambda: calls.append("resume")
        ),
    )
    with pytest.raises(Skipped), events_ended(host):
        raise Skipped("no transaction")
    assert calls == ["end", "resume"]


@pytest.mark.slow
def test_a_good_vm_with_state_sync_passes() -> None:
    checks = [check for check in CHECKS.values() if check.area == "statesync"]
    results = run_checks(bench(45, "statesync:SyncingVM"), checks)
    assert {result.check.name: result.verdict for result in results} == {
        check.name: Verdict.SKIPPED if "unsupported" in check.name else Verdict.PASSED for check in checks
    }
