"""What a node says of itself."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk.runtime.release import MAX_ENTRIES, Command, Release, ReleaseCache


@pytest.mark.parametrize(
    ("answer", "release"),
    [
        (
            "avalanchego/1.14.2 [database=v1.4.5, rpcchainvm=45, go=1.26.8]\n",
            Release("avalanchego/1.14.2", 45),
        ),
        (
            "metalgo/1.12.2 [database=v1.4.5, rpcchainvm=39, commit=0a1b2c, go=1.23.6]\n",
            Release("metalgo/1.12.2", 39),
        ),
        ("avalanchego/1.11.3 [rpcchainvm=35]", Release("avalanchego/1.11.3", 35)),
        ("a warning\nmetalgo/1.13.5 [database=v1.4.5, rpcchainvm=43, go=1]\n", Release("metalgo/1.13.5", 43)),
    ],
)
def test_each_form_of_the_answer_is_understood(answer: str, release: Release) -> None:
    assert Release.parse(answer) == release


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Python 3.11.7\n",
        "avalanche version 1.8.4\n",
        "metalgo/1.13.5 [database=v1.4.5, rpcchainvm=4",
        "metalgo/1.13.5 [database=v1.4.5, rpcchainvm=x, go=1]",
        "metalgo/1.13.5 [database=v1.4.5, rpcchainvm=-1, go=1]",
        "metalgo/1.13.5 [database=v1.4.5, rpcchainvm=99999999999999999999, go=1]",
        "metalgo/1.13.5 [database=v1.4.5]\n[x, rpcchainvm=43, go=1]",
        "metalgo [rpcchainvm=43]",
        "metalgo/1.13.5 [notrpcchainvm=43]",
        "metalgo/1.13.5 [" + "x, " * 100_000,
        "/" * 1_000_000,
        "\x1b[31mmetalgo/1.13.5 [rpcchainvm=43]",
        "metalgo/1.13.5\x9b31m [rpcchainvm=43]",
    ],
)
def test_nothing_else_is(answer: str) -> None:
    assert Release.parse(answer) is None


def test_name_and_version_are_the_two_parts_of_the_application() -> None:
    release = Release("metalgo/1.13.5", 43)
    assert (release.name, release.version) == ("metalgo", "1.13.5")


def output(code: str) -> str:
    return Command(sys.executable, ["x", "-c", code]).output(60)


def test_a_command_has_no_environment_no_input_and_no_errors() -> None:
    code = "import os, sys; print(sorted(os.environ), repr(sys.stdin.read())); print('x', file=sys.stderr)"
    said = output(code)
    assert said.endswith(" ''\n")
    assert "PATH" not in said
    assert "HOME" not in said


def test_what_a_command_says_in_time_counts_and_then_it_is_ended(tmp_path: Path) -> None:
    said = tmp_path / "said"
    os.mkfifo(said)
    code = f"import os, signal; print(os.getpid(), flush=True); open({str(said)!r}, 'w'); signal.pause()"
    command = Command(sys.executable, ["x", "-c", code])
    said.open().close()  # returns when the command has opened it, too
    pid = int(command.output(0))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_command_that_never_stops_printing_is_ended_in_time(tmp_path: Path) -> None:
    said = tmp_path / "said"
    os.mkfifo(said)
    # Until the pipe is full, and once more for every read.
    code = (
        f"import os; os.write(1, b'x' * 4096); open({str(said)!r}, 'w')\nwhile True: os.write(1, b'x' * 4096)"
    )
    command = Command(sys.executable, ["x", "-c", code])
    said.open().close()
    looks = 0

    def look(text: str) -> bool:
        nonlocal looks
        looks += 1
        select.select([command._reader], [], [])  # it has always printed more when the next read comes
        return False

    command.output(0, is_enough=look)
    assert command.timed_out
    assert looks == 1


def test_enough_is_enough() -> None:
    command = Command(sys.executable, ["x", "-c", "import signal; print('now', flush=True); signal.pause()"])
    assert command.output(60, is_enough=lambda text: "now" in text) == "now\n"


def test_a_command_that_can_not_be_started_leaves_no_descriptor() -> None:
    # In a process without threads, which might open and close some meanwhile.
    code = (
        "import os\nfrom vmsdk.runtime.release import Command\nbefore = os.listdir('/dev/fd')\n"
        "try:\n    Command('/no/such/command', ['x'])\n"
        "except FileNotFoundError:\n    print(os.listdir('/dev/fd') == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_closed_question_can_be_closed_again() -> None:
    command = Command(sys.executable, ["x", "-c", "import signal; signal.pause()"])
    command.close()
    command.close()


# The cache ----------------------------------------------------------------------------------------

RELEASE = Release("metalgo/1.13.5", 43)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "share" / "nodes"


def node(path: Path, content: str = "a node") -> tuple[str, str]:
    path.write_text(content, encoding="utf-8")
    return str(path), str(path)


def test_an_answer_is_kept_for_the_next_process(directory: Path, tmp_path: Path) -> None:
    asked = node(tmp_path / "metalgo")
    assert ReleaseCache(str(directory)).get(*asked) is None
    ReleaseCache(str(directory)).put(*asked, RELEASE)
    assert ReleaseCache(str(directory)).get(*asked) == RELEASE


def test_a_file_of_another_size_is_another_node(directory: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(str(directory))
    cache.put(*node(tmp_path / "metalgo"), RELEASE)
    assert cache.get(*node(tmp_path / "metalgo", "a newer node")) is None


def test_a_path_that_is_not_text_is_a_path_all_the_same(directory: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(str(directory))
    asked = node(tmp_path / "m\udcff\ntal\u00e9")
    cache.put(*asked, RELEASE)
    assert cache.get(*asked) == RELEASE


def test_an_executable_that_is_gone_has_no_answer(directory: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(str(directory))
    asked = node(tmp_path / "metalgo")
    cache.put(*asked, RELEASE)
    (tmp_path / "metalgo").unlink()
    assert cache.get(*asked) is None
    cache.put(*asked, RELEASE)


def test_any_number_of_nodes_leaves_but_a_few_files(directory: Path, tmp_path: Path) -> None:
    cache = ReleaseCache(str(directory))
    for number in range(MAX_ENTRIES + 2):
        last = node(tmp_path / f"node{number}")
        cache.put(*last, RELEASE)
    assert len(list(directory.iterdir())) <= MAX_ENTRIES
    assert cache.get(*last) == RELEASE
