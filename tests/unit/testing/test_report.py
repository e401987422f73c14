"""Reports: whose fault, what was found, and the exit status."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from vmsdk.testing.contract import Check, Severity, Violation
from vmsdk.testing.report import Report
from vmsdk.testing.run import Result, Verdict


def check(name: str) -> Check:
    return Check(name, "A rule.", Severity.STOPS, "vm_client.go", (45,), False, False, lambda bench: None)


VIOLATION = Violation("it is wrong", sent="GetBlock", got="\x00 nothing", node="it stops", cure="mend it")
PASSED = Result(check("life.good"), Verdict.PASSED, 0.5)
VIOLATED = Result(
    check("blocks.bad"), Verdict.VIOLATED, 1, VIOLATION, log=("\x1b[33ma line\x1b[0m of the\x07 plugin",)
)
SKIPPED = Result(check("http.none"), Verdict.SKIPPED, 0, why="the VM has no HTTP")
HOOK = Result(check("blocks.more"), Verdict.HOOK, 1, why="the hook raised KeyError")
ERROR = Result(check("blocks.worse"), Verdict.ERROR, 1, why="Traceback\nZeroDivisionError: oh")


def report(*results: Result) -> Report:
    return Report("./vm", 45, results, 12.3)


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ((PASSED, SKIPPED), 0),
        ((PASSED, VIOLATED, HOOK), 1),
        ((PASSED, HOOK), 2),
        ((VIOLATED, HOOK, ERROR), 3),
    ],
)
def test_the_exit_status_names_the_worst_fault(results: tuple[Result, ...], status: int) -> None:
    assert report(*results).exit_status == status


def test_the_text_describes_a_violation() -> None:
    text = report(PASSED, VIOLATED, SKIPPED).text()
    for phrase in (
        "blocks.bad: it is wrong",
        "fault    the plugin's: a node stops the chain or the plugin",
        "rule     A rule. (vm_client.go)",
        "sent     GetBlock",
        "node     it stops",
        "cure     mend it",
        "| a line of the plugin",
        "skipped 1: the VM has no HTTP",
    ):
        assert phrase in text
    assert text.endswith("1 passed, 1 violated, 1 skipped in 12 s")


def test_the_same_violation_of_several_checks_is_described_once() -> None:
    again = Result(check("blocks.also-bad"), Verdict.VIOLATED, 1, VIOLATION)
    text = report(VIOLATED, again).text()
    assert text.count("it is wrong") == 1
    assert "also     blocks.also-bad" in text


def test_the_faults_of_others_are_not_the_plugins() -> None:
    text = report(HOOK, ERROR).text()
    assert "blocks.more: hook failed\n  fault    the hook's fault" in text
    assert "blocks.worse: error\n  fault    vmsdk's fault" in text


def test_junit_has_a_case_for_each_check() -> None:
    suite = ElementTree.fromstring(report(PASSED, VIOLATED, SKIPPED, HOOK, ERROR).junit())[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "1", "2", "1"]
    assert [[child.tag for child in case] for case in suite] == [
        [],
        ["failure"],
        ["skipped"],
        ["error"],
        ["error"],
    ]
    assert "\ufffd nothing" in (suite[1][0].text or "")


def test_json_has_all_that_is_known() -> None:
    value = json.loads(report(PASSED, VIOLATED, SKIPPED).json())
    assert (value["target"], value["protocol"], value["exit_status"]) == ("./vm", 45, 1)
    passed, violated, skipped = value["results"]
    assert (passed["name"], passed["verdict"]) == ("life.good", "passed")
    assert violated["violation"]["got"] == "\x00 nothing"
    assert violated["log"] == list(VIOLATED.log)
    assert skipped["why"] == "the VM has no HTTP"
