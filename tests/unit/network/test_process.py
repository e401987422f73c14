"""Processes that outlive their starter, and are distinguished from later ones with their ID."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from vmsdk.network.process import Process, end_processes_in

DEADLINE_S = 60.0

# A node with a plugin: both run until they are killed, and print when they have started.
PARENT = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    started: list[Process] = []

    def start(code: str) -> Process:
        process = Process.start([sys.executable, "-c", code], tmp_path / "output")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def output(tmp_path: Path) -> Callable[[], str]:
    return (tmp_path / "output").read_text


def child_of(process: Process, output: Callable[[], str]) -> psutil.Process:
    wait_until(lambda: output().endswith("\n"))
    return psutil.Process(int(output()))


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def test_its_output_goes_to_the_end_of_a_file(
    start: Callable[[str], Process], output: Callable[[], str]
) -> None:
    for word in ("one", "two"):
        assert start(f"import sys; print({word!r}); print('!', file=sys.stderr)").wait(DEADLINE_S)
    assert sorted(output().splitlines()) == ["!", "!", "one", "two"]


def test_it_reads_nothing_from_the_terminal(
    start: Callable[[str], Process], output: Callable[[], str]
) -> None:
    assert start("import sys; print(repr(sys.stdin.read()))").wait(DEADLINE_S)
    assert output() == "''\n"


def test_a_terminals_ctrl_c_does_not_reach_it(start: Callable[[str], Process]) -> None:
    process = start("import signal; signal.pause()")
    assert os.getsid(process.pid) == process.pid
    assert process.running


@pytest.mark.parametrize(("code", "exit_code"), [("pass", 0), ("raise SystemExit(7)", 7)])
def test_its_exit_code_is_known_to_its_starter(
    start: Callable[[str], Process], code: str, exit_code: int
) -> None:
    process = start(code)
    assert process.wait(DEADLINE_S)
    assert (process.running, process.exit_code) == (False, exit_code)


def test_a_signal_that_killed_it_is_a_negative_code(start: Callable[[str], Process]) -> None:
    process = start("import signal; signal.pause()")
    process.kill()
    assert process.exit_code == -signal.SIGKILL


def test_waiting_for_one_that_runs_gives_up_in_time(start: Callable[[str], Process]) -> None:
    process = start("import signal; signal.pause()")
    assert not process.wait(0.05)
    assert process.running


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Process.start([str(tmp_path / "none")], tmp_path / "output")


def test_another_process_finds_it_and_may_end_it(start: Callable[[str], Process]) -> None:
    process = start("import signal; signal.pause()")
    code = f"from vmsdk.network.process import Process\nprocess = Process({process.pid}, {process.started!r})\nassert process.running\nprocess.terminate()"  # noqa: E501
    subprocess.run([sys.executable, "-c", code], check=True)
    assert process.wait(DEADLINE_S)
    assert process.exit_code == -signal.SIGTERM


def test_a_zombie_does_not_count_as_running(tmp_path: Path) -> None:
    keeper = subprocess.Popen(  # starts a process that exits at once, and does not wait for it
        [
            sys.executable,
            "-c",
            (
                "import os, sys\npid = os.posix_spawn('/bin/true', ['true'], {})\nprint(pid, "
                "flush=True)\nsys.stdin.read()"
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    with keeper:
        zombie = psutil.Process(int(keeper.stdout.readline()))
        process = Process(zombie.pid, zombie.create_time())
        assert process.wait(DEADLINE_S)
        assert process.exit_code is None


def test_a_later_process_of_the_same_id_is_never_touched(start: Callable[[str], Process]) -> None:
    later = start("import signal; signal.pause()")
    earlier = Process(later.pid, later.started - 3600)
    assert not earlier.running
    earlier.terminate()
    earlier.kill()
    earlier.pause()
    assert later.running
    assert not later.paused


def test_killing_it_ends_the_plugins_that_would_stay(
    start: Callable[[str], Process], output: Callable[[], str]
) -> None:
    process = start(PARENT)
    child = child_of(process, output)
    process.kill()
    wait_until(lambda: is_gone(child))


def test_pausing_freezes_it_with_its_plugins(
    start: Callable[[str], Process], output: Callable[[], str]
) -> None:
    process = start(PARENT)
    child = child_of(process, output)
    process.pause()
    assert process.paused
    wait_until(lambda: child.status() == psutil.STATUS_STOPPED)
    process.resume()
    wait_until(lambda: not process.paused and child.status() != psutil.STATUS_STOPPED)
    assert process.running


def test_what_was_started_from_a_directory_can_be_ended_whoever_started_it(tmp_path: Path) -> None:
    inside, outside = tmp_path / "network", tmp_path / "network-other"
    processes = []
    for directory in (inside, outside):
        directory.mkdir()
        plugin = directory / "plugin"
        plugin.write_text(f"#!{sys.executable}\nimport signal\nprint(flush=True)\nsignal.pause()\n")
        plugin.chmod(0o755)
        processes.append(subprocess.Popen([plugin], stdout=subprocess.PIPE))
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    end_processes_in(inside)
    assert processes[0].wait(DEADLINE_S) == -signal.SIGKILL
    assert processes[1].poll() is None
    for process in processes:
        with process:
            process.kill()
