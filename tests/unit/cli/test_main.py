"""The `vmsdk` command itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk import cli
from vmsdk._version import __version__


def test_its_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"vmsdk {__version__}\n"


def test_its_help_lists_the_commands_and_says_what_a_target_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "dev       run a VM without a node" in shown
    assert "network   run a VM on a local network" in shown
    assert "path/vm.py:Class" in shown


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["--nothing"], ["dev"], ["dev", "x", "--port", "70000"]]
)
def test_a_wrong_call_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: vmsdk")


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ("dev vm.py --port http", "--port: http is not a port: choose one from 0 to 65535"),
        ("dev vm.py --debug x", "--debug: x is not a port"),
        ("check vm.py --jobs many", "--jobs: many is not a number of checks: give 1 or more"),
        ("network start vm.py --timeout 0", "--timeout: 0 is not a time: give a number of seconds above 0"),
        ("network start vm.py --timeout nan", "--timeout: nan is not a time"),
        ("network start vm.py --timeout soon", "--timeout: soon is not a time"),
        ("network logs --lines x", "--lines: x is not a number of lines: give 0 or more"),
        ("network logs -n -1", "-n/--lines: -1 is not a number of lines"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_named(
    arguments: str, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments.split())
    assert end.value.code == 2
    assert mistake in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["bundle", ""],
        ["bundle", "vm.py", "--output", ""],
        ["check", ""],
        ["check", "vm.py", "--genesis", ""],
        ["dev", ""],
        ["dev", "vm.py", "--data-dir", ""],
        ["doctor", ""],
        ["doctor", "--as", ""],
        ["doctor", "--cwd", ""],
        ["doctor", "--node", ""],
        ["install", ""],
        ["install", "vm.py", "--plugin-dir", ""],
        ["network", "start", ""],
        ["network", "start", "--node", ""],
        ["network", "start", "--plugin", ""],
        ["network", "status", "--data-dir", ""],
        ["new", "my-chain", "--directory", ""],
        ["version", "--node", ""],
    ],
    ids=" ".join,
)
def test_a_variable_that_is_not_set_does_not_mean_the_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vm.py").write_text("import vmsdk\n\n\nclass VM(vmsdk.ChainVM): ...\n")
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert ": it is empty: perhaps a variable in the command is not set" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["vm.py"]


@pytest.mark.parametrize("protocol", ["34", "47", "new"])
def test_a_protocol_that_is_not_spoken_is_a_usage_error(
    protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["dev", "vm.py", "--protocol", protocol])
    assert end.value.code == 2
    assert "--protocol" in capsys.readouterr().err


def test_a_mistake_is_one_sentence_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dev", "/nothing/vm.py"]) == 1
    assert capsys.readouterr().err == "vmsdk dev: /nothing/vm.py: there is no file /nothing/vm.py\n"


@pytest.mark.parametrize("arguments", [["--help"], ["dev", "--help"]])
def test_help_comes_without_grpc_and_without_any_extra(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom vmsdk import cli\n"
        f"try: cli.main({arguments})\nexcept SystemExit: pass\n"
        "print([name for name in ('grpc', 'google', 'rich', 'h11', 'watchfiles', 'ecdsa') if name "
        "in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "vmsdk", "--version"], check=True, capture_output=True)
    assert done.stdout.decode() == f"vmsdk {__version__}\n"


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["install", "--help"]])
def test_a_reader_that_has_seen_enough_is_not_a_traceback(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vmsdk", *arguments], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.stderr == b""


def test_a_closed_stdout_is_not_a_traceback() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m vmsdk version >&-', sys.executable],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="by /dev/full")
@pytest.mark.parametrize(
    ("arguments", "command", "unbuffered"),
    [
        ("version", "vmsdk version", ""),
        ("version", "vmsdk version", "1"),  # and argparse ignores help that can't be printed
        ("dev --help", "vmsdk dev", ""),
        ("--help", "vmsdk", ""),
    ],
)
def test_a_full_disk_is_one_sentence_and_status_1(arguments: str, command: str, unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vmsdk", *arguments.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    reason = f"{command}: can't write the output: No space left on device\n"
    assert (done.returncode, done.stderr.decode()) == (1, reason)
