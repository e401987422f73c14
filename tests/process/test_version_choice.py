"""The protocol version that a plugin speaks: given, else the node's, else the default."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.host.errors import ProtocolMismatch
from vmsdk.host.node import Host
from vmsdk.protocol import DEFAULT_PROTOCOL, NEWEST, OLDEST

from .fakenode import FakeNode, answer, needs_compiler
from .installed import TIMESTAMP, Environment
from .plugin import PATIENCE_S, ROOT, Lines, alive

pytestmark = [needs_compiler, pytest.mark.slow]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """The timestamp example, installed once."""
    folder = tmp_path_factory.mktemp("installed")
    environment, plugins = Environment(folder / "venv", patient=True), folder / "plugins"
    plugins.mkdir()
    return environment, environment.install(TIMESTAMP, plugins)


@pytest.fixture
def environment(installed: tuple[Environment, Path]) -> Environment:
    """An environment where nothing is noted yet."""
    environment, _ = installed
    shutil.rmtree(environment.answers.parent, ignore_errors=True)
    return environment


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    directory = tmp_path / "plugins"
    directory.mkdir()
    return directory


@pytest.fixture
def launcher(environment: Environment, installed: tuple[Environment, Path]) -> Path:
    return installed[1]


@pytest.fixture
def lines() -> Lines:
    return Lines()


def started_by(node: FakeNode, *command: Path | str, protocol: int, log: Lines) -> Host:
    """A host of *protocol* whose plugin *command* is started by *node*."""
    return Host(
        [str(node.path), *map(str, command)], protocol=protocol, log=log, handshake_timeout_s=PATIENCE_S
    )


def is_taken(node: FakeNode, *command: Path | str, protocol: int, log: Lines) -> bool:
    """Whether the plugin speaks this protocol version when *node* starts it."""
    try:
        started_by(node, *command, protocol=protocol, log=log).register()
    except ProtocolMismatch:
        return False
    return True


# The node's word ----------------------------------------------------------------------------------


def test_a_vm_that_is_installed_once_serves_nodes_of_two_protocols_without_any_change(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    before = launcher.read_bytes(), launcher.stat().st_mtime_ns
    for protocol in (43, 45, 43):
        node = FakeNode(tmp_path / f"release{protocol}" / "metalgo", answer(protocol))
        with started_by(node, launcher, protocol=protocol, log=lines) as host:
            assert host.chain.version() == "1.0.0"
    assert (launcher.read_bytes(), launcher.stat().st_mtime_ns) == before


@pytest.mark.parametrize("protocol", [OLDEST, 40, NEWEST])
def test_each_answer_is_believed(launcher: Path, tmp_path: Path, lines: Lines, protocol: int) -> None:
    node = FakeNode(tmp_path / "avalanchego", answer(protocol, "avalanchego/1.13.1"))
    assert is_taken(node, launcher, protocol=protocol, log=lines)
    assert len(node.asked) == 1


def test_a_shell_script_may_stand_between_the_node_and_the_plugin(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(41))
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n"{launcher}"\nexit $?\n', encoding="utf-8")
    wrapper.chmod(0o755)
    assert is_taken(node, wrapper, protocol=41, log=lines)


def test_a_plugin_without_a_launcher_asks_as_well(
    environment: Environment, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(39))
    assert is_taken(node, environment.python, TIMESTAMP, protocol=39, log=lines)


def test_a_node_whose_file_was_replaced_while_it_runs_is_asked_itself(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(43))
    gate = tmp_path / "gate"
    wrapper = tmp_path / "wrapper"
    os.mkfifo(gate)
    wrapper.write_text(f'#!/bin/sh\nread line < "{gate}"\nexec "{launcher}"\n', encoding="utf-8")
    wrapper.chmod(0o755)

    def upgrade() -> None:
        with gate.open("w", encoding="utf-8") as opened:  # returns when the wrapper runs, so the node does
            FakeNode(tmp_path / "metalgo", answer(45))
            opened.write("go on\n")

    upgrading = threading.Thread(target=upgrade)
    upgrading.start()
    assert is_taken(node, wrapper, protocol=43, log=lines)
    upgrading.join()


# Asked once ---------------------------------------------------------------------------------------


def test_a_second_start_asks_no_more(launcher: Path, tmp_path: Path, lines: Lines) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(44))
    for _ in range(3):
        assert is_taken(node, launcher, protocol=44, log=lines)
    assert len(node.asked) == 1


def test_another_file_at_the_same_path_is_asked_again(launcher: Path, tmp_path: Path, lines: Lines) -> None:
    for protocol in (44, 45):
        node = FakeNode(tmp_path / "metalgo", answer(protocol))
        os.utime(node.path, ns=(0, protocol))
        assert is_taken(node, launcher, protocol=protocol, log=lines)
    assert len(node.asked) == 2


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"\0" * 100, b"metalgo/1.0\n40\n", b"metalgo/1.0\nforty\n1 2 /x\n", b"\xff" * 9],
    ids=["empty", "zeros", "cut off", "no number", "no text"],
)
def test_a_spoilt_note_of_the_answer_is_ignored_and_replaced(
    launcher: Path, environment: Environment, tmp_path: Path, lines: Lines, rubbish: bytes
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(44))
    assert is_taken(node, launcher, protocol=44, log=lines)
    (note,) = environment.answers.iterdir()
    good = note.read_bytes()
    note.write_bytes(rubbish)
    assert is_taken(node, launcher, protocol=44, log=lines)
    assert len(node.asked) == 2
    assert note.read_bytes() == good


def test_starts_at_the_same_time_do_not_disturb_each_other(
    launcher: Path, environment: Environment, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(42), delay_ms=200)
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda: taken.append(is_taken(node, launcher, protocol=42, log=lines)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [True] * 4
    assert len(list(environment.answers.iterdir())) == 1


def test_where_nothing_can_be_noted_each_start_asks_once(
    launcher: Path, environment: Environment, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(42))
    environment.answers.parent.mkdir(parents=True)
    environment.answers.write_text("a file where the folder should be", encoding="utf-8")
    for _ in range(2):
        assert is_taken(node, launcher, protocol=42, log=lines)
    assert len(node.asked) == 2


def test_nothing_is_noted_in_the_plugin_directory(launcher: Path, tmp_path: Path, lines: Lines) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(42))
    assert is_taken(node, launcher, protocol=42, log=lines)
    assert list(launcher.parent.iterdir()) == [launcher]


# No answer ----------------------------------------------------------------------------------------


def test_a_node_that_hangs_is_given_up_after_2_s_and_ended(
    plugins: Path, tmp_path: Path, lines: Lines
) -> None:
    launcher = Environment(tmp_path / "venv").install(TIMESTAMP, plugins)
    node = FakeNode(tmp_path / "metalgo", answer(43), delay_ms=60_000)
    host = started_by(node, launcher, protocol=DEFAULT_PROTOCOL, log=lines)
    host.register()
    assert host.process.handshake_s is not None
    assert host.process.handshake_s > 2.0
    assert not any(map(alive, node.asked))  # On a busy machine, it may end before it notes its ID.
    assert f"the node {node.path} did not print its version in time" in lines.text


@pytest.mark.parametrize(
    ("text", "repeat"),
    [
        ("", 1),
        ("metalgo/1.13.5", 1),
        ("metalgo/1.13.5 [database=v1.4.5, rpcchainvm=, commit=1]", 1),
        ("metalgo/1.13.5 [database=v1.4.5, rpcchainvm=43", 1),
        ("metalgo/1.13.5 [database=v1.4.5, rpcchainvm=99999999]", 1),
        ("unknown option: --version", 100_000_000),
    ],
)
def test_a_node_that_says_something_else_changes_nothing(
    launcher: Path, environment: Environment, tmp_path: Path, lines: Lines, text: str, repeat: int
) -> None:
    node = FakeNode(tmp_path / "metalgo", text, repeat=repeat)
    assert is_taken(node, launcher, protocol=DEFAULT_PROTOCOL, log=lines)
    (asked,) = node.asked
    assert not alive(asked)
    assert not environment.answers.exists()
    lines.wait_for(f"the default, since the node {node.path} did not print ")


def test_a_node_that_ends_without_an_answer_is_not_said_to_be_slow(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", "", repeat=0)
    assert not is_taken(node, launcher, protocol=43, log=lines)
    lines.wait_for(
        f"this VM was started with {DEFAULT_PROTOCOL} (the default, since the node {node.path} did not "
        "print a protocol for --version). Install it for this node: "
    )


def test_for_a_node_newer_than_vmsdk_the_default_is_tried(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(NEWEST + 1))
    assert is_taken(node, launcher, protocol=DEFAULT_PROTOCOL, log=lines)


def test_the_log_says_where_the_version_comes_from(launcher: Path, tmp_path: Path, lines: Lines) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(43))
    assert is_taken(node, launcher, protocol=43, log=lines)
    lines.wait_for(f"INFO vmsdk: protocol 43: the node {node.path} is metalgo/1.99.0, which speaks 43")


def test_a_refused_default_says_why_the_node_was_not_asked(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "supervisor", answer(43))
    assert not is_taken(node, launcher, protocol=43, log=lines)
    lines.wait_for(
        f"this VM was started with {DEFAULT_PROTOCOL} (the default, since no parent process is "
        "called avalanchego or metalgo or listens at 127.0.0.1:"
    )


# What makes root like any other user here: it may neither read every file nor look into every
# process. It takes effect for what the command itself executes, so one more is in between.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-sys_ptrace", "env"]


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
@pytest.mark.parametrize("command", ["{}", "./metalgo"], ids=["absolute", "relative"])
def test_a_node_whose_executable_cannot_be_read_is_asked_by_its_command_line(
    tmp_path: Path, command: str
) -> None:
    # As for a node with file capabilities, the kernel hides from its own user what the process
    # runs.
    node = FakeNode(tmp_path / "metalgo", answer(43))
    node.path.chmod(0o111)
    code = (
        FIND_NODE.format(root=str(ROOT), engine="127.0.0.1:1") + "print(found.executable.startswith('/proc'))"
    )
    said = subprocess.run(
        [
            *(UNPRIVILEGED if os.geteuid() == 0 else []),
            command.format(node.path),
            sys.executable,
            "-c",
            code,
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    ).stdout
    assert said == f"{node.path}\nFalse\n"


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_a_parent_that_the_system_hides_is_not_said_to_have_another_name(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(43))
    node.path.chmod(0o111)
    code = (
        f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from vmsdk.runtime.version import VersionChoice\n"
        "choice = VersionChoice(None, engine='127.0.0.1:1', ask=True)\n"
        "print(os.getppid(), choice.settle().version, choice.source, sep='\\n')"
    )
    # Its command line names no file either, as after a removal.
    renamed = ["bash", "-c", 'exec -a "my node" "$@"', "bash", str(node.path), sys.executable, "-c", code]
    printed = subprocess.run(
        [*(UNPRIVILEGED if os.geteuid() == 0 else []), *renamed],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    ).stdout
    parent, protocol, source = printed.splitlines()
    assert protocol == str(DEFAULT_PROTOCOL)
    assert source == f"the default, since the executable of the parent process {parent} can't be read"


def test_the_refusal_says_the_very_command_that_cures_it(
    launcher: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(43))
    assert not is_taken(node, launcher, protocol=45, log=lines)
    command = lines.wait_for("Install it for this node: ").partition("node: ")[2]
    assert command == (
        f"vmsdk install {TIMESTAMP} --name timestampvm --plugin-dir {launcher.parent} --protocol 45"
    )


# Not asked ----------------------------------------------------------------------------------------


def test_a_parent_that_is_not_a_node_is_never_run(launcher: Path, tmp_path: Path, lines: Lines) -> None:
    node = FakeNode(tmp_path / "supervisor", answer(43))
    assert is_taken(node, launcher, protocol=DEFAULT_PROTOCOL, log=lines)
    assert node.asked == []


@pytest.mark.parametrize(
    ("options", "protocol"), [(["--protocol", "43"], 43), (["--no-ask"], DEFAULT_PROTOCOL)]
)
def test_with_the_version_settled_at_the_installation_nobody_is_asked(
    environment: Environment, plugins: Path, tmp_path: Path, lines: Lines, options: list[str], protocol: int
) -> None:
    launcher = environment.install(TIMESTAMP, plugins, *options)
    node = FakeNode(tmp_path / "metalgo", answer(44))
    assert is_taken(node, launcher, protocol=protocol, log=lines)
    assert node.asked == []


def test_with_a_node_given_at_the_installation_it_is_asked_there_and_then(
    environment: Environment, plugins: Path, tmp_path: Path, lines: Lines
) -> None:
    node = FakeNode(tmp_path / "bin" / "my-node", answer(42))
    launcher = environment.install(TIMESTAMP, plugins, "--node", str(node.path))
    assert len(node.asked) == 1
    host = Host(launcher, protocol=42, log=lines, handshake_timeout_s=PATIENCE_S)
    assert host.register() == "1.0.0"


@pytest.mark.parametrize("argument", ["protocol_version=43", "ask_parent=False"])
def test_an_argument_of_serve_settles_it(
    environment: Environment, tmp_path: Path, lines: Lines, argument: str
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(44))
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import vmsdk\nfrom examples.timestamp.timestampvm import "
        f"TimestampVM\nvmsdk.serve(TimestampVM(), {argument})\n",
        encoding="utf-8",
    )
    expected = 43 if "43" in argument else DEFAULT_PROTOCOL
    assert is_taken(node, environment.python, plugin, protocol=expected, log=lines)
    assert node.asked == []


# Which process is the node ------------------------------------------------------------------------

FIND_NODE = """
import sys
sys.path.insert(0, {root!r})
from vmsdk.runtime.nodeprocess import find_node
found = find_node({engine!r})
print(None if found is None else found.path)
"""


def found_by_a_child_of(
    node: FakeNode, engine: str, *arguments: str, inherited: socket.socket | None = None
) -> str:
    """What a process that *node* has started takes for its node; *inherited* is one of the node's
    sockets.
    """
    code = FIND_NODE.format(root=str(ROOT), engine=engine)
    return subprocess.run(
        [node.path, sys.executable, "-c", code, *arguments],
        pass_fds=[] if inherited is None else [inherited.fileno()],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    ).stdout.strip()


@pytest.fixture
def engine() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("name", ["metalgo", "avalanchego", "metalgo-v1.13.5", "AvalancheGo.bin"])
def test_a_node_is_known_by_its_name(tmp_path: Path, engine: socket.socket, name: str) -> None:
    node = FakeNode(tmp_path / name, answer(45))
    assert found_by_a_child_of(node, address(engine)) == str(node.path)


def test_a_node_by_any_name_is_known_by_the_address_at_which_it_listens(
    tmp_path: Path, engine: socket.socket
) -> None:
    node = FakeNode(tmp_path / "node 1) (mainnet", answer(45))
    assert found_by_a_child_of(node, address(engine), inherited=engine) == str(node.path)


def test_a_program_that_listens_elsewhere_is_not_a_node(tmp_path: Path, engine: socket.socket) -> None:
    node = FakeNode(tmp_path / "proxy", answer(45))
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert found_by_a_child_of(node, address(engine), inherited=other) == "None"


def test_an_interpreter_of_python_is_not_a_node_even_if_it_listens(engine: socket.socket) -> None:
    code = FIND_NODE.format(root=str(ROOT), engine=address(engine))
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert said.strip() == "None"


@pytest.mark.parametrize("engine_address", ["", "rubbish", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:999999"])
def test_an_address_that_is_none_finds_nothing(tmp_path: Path, engine_address: str) -> None:
    assert found_by_a_child_of(FakeNode(tmp_path / "node", answer(45)), engine_address) == "None"


def test_a_host_that_runs_only_to_say_its_version_is_not_asked_again(
    tmp_path: Path, engine: socket.socket
) -> None:
    node = FakeNode(tmp_path / "metalgo", answer(45))
    assert found_by_a_child_of(node, address(engine), "--version") == "None"
