"""Checks as a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vmsdk.testing
from vmsdk.protocol import PROTOCOLS
from vmsdk.testing.contract import AREAS, CHECKS, Check, Severity, all_checks, contract
from vmsdk.testing.run import Verdict, run_checks

NAMES = [check.name for check in all_checks()]


def test_names_are_unique_and_sorted_by_area() -> None:
    assert len(NAMES) == len(set(NAMES))
    areas = [name.partition(".")[0] for name in NAMES]
    assert areas == sorted(areas, key=AREAS.index)


@pytest.mark.parametrize("name", NAMES)
def test_a_check_is_described(name: str) -> None:
    check = CHECKS[name]
    assert re.fullmatch(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*", name)
    assert check.reason.endswith("."), check.reason
    assert re.fullmatch(r"[\w/.-]+\.go", check.source), check.source
    assert any(version in check.protocols for version in PROTOCOLS)


def test_a_check_has_its_name_from_its_function() -> None:
    def a_rule(bench: object) -> None:
        """A rule.

        More about it.
        """

    contract("life", severity=Severity.STOPS, source="vm.go")(a_rule)
    check = CHECKS.pop("life.a-rule")
    assert (check.area, check.reason) == ("life", "A rule.")


def test_the_names_of_the_package_exist() -> None:
    assert {name: getattr(vmsdk.testing, name) for name in dir(vmsdk.testing)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vmsdk.testing.nothing  # type: ignore[attr-defined]


def test_a_bug_of_a_check_is_not_the_plugins_fault() -> None:
    def broken(bench: object) -> None:
        raise KeyError("oh")

    check = Check("life.broken", "-", Severity.STOPS, "vm.go", (45,), False, False, broken)
    (result,) = run_checks(vmsdk.testing.Bench(["none"]), [check])
    assert result.verdict is Verdict.ERROR
    assert Path(__file__).name in result.why
