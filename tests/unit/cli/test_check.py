"""`vmsdk check`: its options, its messages, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.table import PAGE, table
from vmsdk import cli
from vmsdk.testing.contract import CHECKS, Check, Severity, Violation, all_checks

all_checks()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three checks in place of the real ones, that don't start the plugin."""

    def passes(bench: object) -> None: ...

    def fails(bench: object) -> None:
        raise Violation("it is wrong")

    made = [
        Check("life.passes", "It passes.", Severity.STOPS, "vm.go", (43, 45), False, False, passes),
        Check("life.fails", "It fails.", Severity.STOPS, "vm.go", (43,), False, False, fails),
        Check("http.slow", "It is slow.", Severity.STOPS, "vm.go", (43, 45), False, True, passes),
    ]
    monkeypatch.setattr("vmsdk.testing.contract.all_checks", lambda: made)


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """An executable that speaks protocol 43."""
    file = tmp_path / "plugin"
    root = Path(__file__).parents[3]
    code = (
        f"import sys; sys.path[0] = {str(root)!r}; "
        "from tests.conformance.goodvm import GoodVM; GoodVM(43).run()"
    )
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    file.chmod(0o755)
    return str(file)


def test_the_page_lists_the_checks() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(table()), "run python -m tests.conformance.table"


def test_list_shows_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(dict.fromkeys(check.name for check in all_checks()))
    assert all(CHECKS[line.split()[0]].reason in line for line in lines)


@pytest.mark.usefixtures("checks")
def test_an_executable_is_spoken_to_in_its_own_protocol(
    plugin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert cli.main(["check", plugin, "--json", str(report)]) == 1
    assert json.loads(report.read_text())["protocol"] == 43
    out = capsys.readouterr().out
    assert "2 checks, protocol 43" in out
    assert "life.fails: it is wrong" in out
    assert "\n1 passed, 1 violated in " in out


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize(
    ("arguments", "status", "summary"),
    [
        (["--skip", "life.fails"], 0, "1 passed"),
        (["--only", "http", "life.passes"], 0, "1 passed"),
        (["--only", "http.slow"], 0, "1 passed"),
        (["--slow", "--skip", "life"], 0, "1 passed"),
        (["--slow", "--jobs", "3"], 1, "2 passed, 1 violated"),
    ],
)
def test_checks_are_selected(
    plugin: str, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, summary: str
) -> None:
    assert cli.main(["check", plugin, *arguments]) == status
    assert f"\n{summary} in " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a plugin"),
        (["nothing.py"], "there is no file nothing.py"),
        (["PLUGIN", "--only", "lief"], "there is no check or area lief: see vmsdk check --list"),
        (["PLUGIN", "--hook", "none.py"], "there is no hook file none.py"),
        (["PLUGIN", "--request", "x"], "write it as 'PATH JSON'"),
        (["PLUGIN", "--genesis", "none.json"], "can't read none.json: No such file or directory"),
        (["PLUGIN", "--protocol", "45"], "the plugin speaks protocol 43, not 45: give --protocol 43"),
    ],
)
def test_what_cannot_be_used_is_named(
    plugin: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["check", *(plugin if each == "PLUGIN" else each for each in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_a_plugin_that_ends_at_once_is_checked_for_its_handshake_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plugin"
    file.write_text("#!/bin/sh\necho no such luck\nexit 3\n")
    file.chmod(0o755)
    assert cli.main(["check", str(file), "--only", "handshake.version-before-initialize", "http"]) == 1
    out = capsys.readouterr().out
    assert "only the handshake is checked" in out
    assert "| no such luck" in out
    assert " http." not in out


def test_a_chain_that_does_not_start_is_checked_for_that_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vm.py"
    file.write_text("import no_such_library\n")
    arguments = ["--only", "life", "blocks", "--jobs", "1"]
    assert cli.main(["check", str(file), *arguments]) == 1
    out = capsys.readouterr().out
    assert "the chain doesn't start, so only that is checked: " in out
    assert "No module named 'no_such_library'" in out
    assert "\n1 violated in " in out


def test_a_program_for_another_machine_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plugin"
    file.write_bytes(b"\x7fELF" + bytes(60))
    file.chmod(0o755)
    assert cli.main(["check", str(file)]) == 2
    assert f"{file} is not a program for this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "arguments", "status", "text"),
    [
        ("h11", ["--only", "http.upgrades-get-a-response"], 0, "HTTP needs the package h11: pip install"),
        ("httpx", ["--request", "/ {}"], 2, "sending transactions needs the package httpx: pip install"),
    ],
)
def test_a_missing_library_is_named(
    plugin: str, missing: str, arguments: list[str], status: int, text: str
) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from vmsdk import cli; exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "check", plugin, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert text in done.stdout + done.stderr
