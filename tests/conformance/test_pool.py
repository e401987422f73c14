"""Checks that share a chain: who gets which, and what counts if one fails there."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.goodvm import command
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Check, Severity, Violation
from vmsdk.testing.run import Result, Verdict, run_checks


def results(*looks: Callable[[Bench], None]) -> list[Result]:
    checks = [
        Check(f"life.{look.__name__}", "-", Severity.STOPS, "vm.go", (45,), False, False, look)
        for look in looks
    ]
    return run_checks(Bench(command(45), protocol=45), checks)


class Users:
    """Notes the process of each check."""

    def __init__(self) -> None:
        self.pids: list[int | None] = []

    def first(self, bench: Bench) -> None:
        with bench.chain() as host:
            self.pids.append(host.process.pid)
            bench.alive(host)

    def fails_after_another(self, bench: Bench) -> None:
        self.first(bench)
        if bench.is_shared:
            raise Violation("odd")

    def fails(self, bench: Bench) -> None:
        with bench.chain() as host:
            self.pids.append(host.process.pid)
            raise Violation("bad")

    def kills(self, bench: Bench) -> None:
        with bench.chain() as host:
            self.pids.append(host.process.pid)
            host.process.kill()


def test_checks_share_a_process() -> None:
    users = Users()
    assert {each.verdict for each in results(users.first, users.first)} == {Verdict.PASSED}
    assert len(users.pids) == 2
    assert len(set(users.pids)) == 1


def test_a_check_that_fails_only_after_another_passes() -> None:
    users = Users()
    assert {each.verdict for each in results(users.first, users.fails_after_another)} == {Verdict.PASSED}
    assert len(set(users.pids)) == 2


def test_a_check_that_fails_alone_too_is_reported() -> None:
    users = Users()
    _, failed, last = results(users.first, users.fails, users.first)
    assert failed.verdict is Verdict.VIOLATED
    assert last.verdict is Verdict.PASSED
    assert len(set(users.pids)) == 3


def test_a_process_that_has_ended_is_not_used_again() -> None:
    users = Users()
    assert {each.verdict for each in results(users.kills, users.first)} == {Verdict.PASSED}
    assert len(set(users.pids)) == 2
