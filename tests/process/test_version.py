"""What versions are said: a plugin's own, vmsdk's, a node's."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from vmsdk import __version__
from vmsdk.protocol import DEFAULT_PROTOCOL, NEWEST, OLDEST
from vmsdk.runtime.release import Release

from .fakenode import FakeNode, answer, needs_compiler
from .installed import TIMESTAMP, Environment
from .plugin import PATIENCE_S


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    directory = tmp_path / "plugins"
    directory.mkdir()
    return directory


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a plugin by hand, in an empty environment."""
    return subprocess.run(
        command, env={}, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False
    )


# A plugin -----------------------------------------------------------------------------------------


def test_a_script_says_its_version_in_the_form_of_a_nodes() -> None:
    done = run(sys.executable, TIMESTAMP, "--version")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == (
        f"timestampvm/1.0.0 [rpcchainvm={DEFAULT_PROTOCOL}, oldest={OLDEST}, newest={NEWEST}, "
        f"vmsdk={__version__}, python={platform.python_version()}]\n"
    )
    # So what reads a node's version reads a plugin's.
    assert Release.parse(done.stdout) == Release("timestampvm/1.0.0", DEFAULT_PROTOCOL)


def test_a_script_says_its_version_in_json() -> None:
    done = run(sys.executable, TIMESTAMP, "--version-json")
    assert json.loads(done.stdout) == {
        "application": "timestampvm/1.0.0",
        "name": "timestampvm",
        "rpcchainvm": DEFAULT_PROTOCOL,
        "oldest": OLDEST,
        "newest": NEWEST,
        "vmsdk": __version__,
        "python": platform.python_version(),
    }


@pytest.mark.parametrize(("options", "protocol"), [([], DEFAULT_PROTOCOL), (["--protocol", "43"], 43)])
def test_an_installed_vm_says_the_protocol_that_it_would_speak(
    environment: Environment, plugins: Path, options: list[str], protocol: int
) -> None:
    done = run(environment.install(TIMESTAMP, plugins, *options), "--version-json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["rpcchainvm"] == protocol
    assert json.loads(done.stdout)["application"] == "timestampvm/1.0.0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_plugin_whose_import_hangs_before_it_says_its_version(
    environment: Environment, plugins: Path, tmp_path: Path, number: int
) -> None:
    source = tmp_path / "stuck.py"
    source.write_text(TIMESTAMP.read_text(encoding="utf-8"), encoding="utf-8")
    plugin = environment.install(source, plugins)
    source.write_text("print('hangs', flush=True)\nwhile True: pass\n", encoding="utf-8")
    with subprocess.Popen([plugin, "--version"], env={}, stdin=subprocess.DEVNULL, stderr=PIPE) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == b"hangs\n"
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 128 + number
        finally:
            process.kill()


def test_what_a_vm_prints_at_its_import_is_not_in_the_answer(
    environment: Environment, plugins: Path, tmp_path: Path
) -> None:
    source = tmp_path / "talkative.py"
    source.write_text(
        "from examples.timestamp.timestampvm import TimestampVM\nprint('hello')\nclass "
        "VM(TimestampVM): pass\n",
        encoding="utf-8",
    )
    done = run(environment.install(source, plugins), "--version-json")
    assert json.loads(done.stdout)["application"] == "vm/1.0.0"
    assert done.stderr == "hello\n"


def test_an_installed_vm_that_is_run_by_hand_explains_itself(environment: Environment, plugins: Path) -> None:
    done = run(environment.install(TIMESTAMP, plugins))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "timestampvm is a VM plugin, which a node starts" in line
    assert line.endswith(f"vmsdk install {TIMESTAMP} --name timestampvm --plugin-dir {plugins}")


def test_a_plugin_with_an_argument_that_it_does_not_know_explains_itself_too(
    environment: Environment, plugins: Path
) -> None:
    done = run(environment.install(TIMESTAMP, plugins), "--help")
    assert done.returncode == 2
    assert "is a VM plugin, which a node starts" in done.stderr


def test_an_installed_vm_whose_source_is_gone_says_so(
    environment: Environment, plugins: Path, tmp_path: Path
) -> None:
    source = tmp_path / "vm.py"
    source.write_bytes(TIMESTAMP.read_bytes())
    installed = environment.install(source, plugins)
    source.unlink()
    done = run(installed, "--version")
    assert done.returncode == 2
    assert done.stderr == f"vmsdk: {source}: there is no file {source}\n"


# vmsdk and nodes ----------------------------------------------------------------------------------


def test_vmsdk_says_its_version_and_the_protocols_that_it_speaks(environment: Environment) -> None:
    done = environment.vmsdk("version")
    assert done.returncode == 0
    assert done.stdout == (
        f"vmsdk {__version__}, protocols {OLDEST} to {NEWEST}, Python {platform.python_version()}\n"
    )


@needs_compiler
@pytest.mark.parametrize(
    ("protocol", "status", "verdict"),
    [
        (43, 0, f"vmsdk {__version__} speaks it"),
        (NEWEST + 1, 1, f"only {OLDEST} to {NEWEST}: pip install --upgrade vmsdk"),
        (OLDEST - 1, 1, f"only {OLDEST} to {NEWEST}: upgrade the node"),
    ],
)
def test_a_node_is_asked_for_its_version(
    environment: Environment, tmp_path: Path, protocol: int, status: int, verdict: str
) -> None:
    node = FakeNode(tmp_path / "node", answer(protocol, "metalgo/1.13.5"))
    done = environment.vmsdk("version", "--node", node.path)
    assert done.returncode == status
    assert done.stdout.startswith(f"metalgo 1.13.5, protocol {protocol}: ")
    assert done.stdout.endswith(f"{verdict}\n")


@needs_compiler
def test_a_node_may_be_named_as_in_a_shell(environment: Environment, tmp_path: Path) -> None:
    FakeNode(tmp_path / "bin" / "metalgo", answer(43))
    done = environment.vmsdk("version", "--node", "metalgo", environment={"PATH": str(tmp_path / "bin")})
    assert done.stdout.startswith("metalgo 1.99.0, protocol 43: ")


@needs_compiler
def test_a_node_in_this_folder_is_not_taken_for_a_command(environment: Environment, tmp_path: Path) -> None:
    FakeNode(tmp_path / "bin" / "metalgo", answer(43))
    FakeNode(tmp_path / "metalgo", answer(45))
    variables = {"PATH": str(tmp_path / "bin")}
    done = environment.vmsdk("version", "--node", "./metalgo", cwd=tmp_path, environment=variables)
    assert done.stdout.startswith("metalgo 1.99.0, protocol 45: ")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("/bin/ls", "it did not respond to --version"),
        ("missing", "No such file"),
        ("/etc", "Permission denied"),
    ],
)
def test_what_is_not_a_node_is_an_error_that_names_it(
    environment: Environment, node: str, reason: str
) -> None:
    done = environment.vmsdk("version", "--node", node)
    assert done.returncode == 1
    assert done.stderr.startswith(f"vmsdk version: {node} can't be asked for its protocol version: ")
    assert reason in done.stderr
