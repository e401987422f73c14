"""`vmsdk install`: the one file by which a node starts a VM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from vmsdk.errors import InvalidInput, VMError
from vmsdk.host.errors import CallFailed, ChainFatal
from vmsdk.host.node import Host
from vmsdk.ids import vm_id
from vmsdk.install.installation import install
from vmsdk.install.launcher import InstallError
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.target import TargetError

from .installed import TIMESTAMP, Environment
from .plugin import PATIENCE_S, ROOT, Lines, node_to_kill

# A VM that derives from the example, for tests to add to.
HEAD = """
import os, sys, threading
from pathlib import Path
from examples.timestamp.timestampvm import TimestampVM
"""
CLASS = """
class OurVM(TimestampVM):
    version = "2.0.0"
"""
# Goes on when the file that the variable names is there: an import that takes as long as the test
# likes.
WAITS = """
while not Path(os.environ["GATE"]).exists():
    threading.Event().wait(0.01)
"""


class Example(NamedTuple):
    """The example, installed for tests that only start it."""

    environment: Environment
    file: Path
    output: str
    """What the command printed."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    folder = tmp_path_factory.mktemp("example")
    environment, plugins = Environment(folder / "venv"), folder / "node" / "plugins"
    plugins.mkdir(parents=True)
    done = environment.vmsdk("install", TIMESTAMP, "--name", "timestampvm", "--plugin-dir", plugins)
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = plugins.iterdir()
    return Example(environment, file, done.stdout)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    directory = tmp_path / "node" / "plugins"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The file of a VM, which a test may write again."""
    path = tmp_path / "source" / "ourvm.py"
    path.parent.mkdir()
    path.write_text(HEAD + CLASS, encoding="utf-8")
    return path


@pytest.fixture
def lines() -> Lines:
    return Lines()


def host_of(installed: Path, lines: Lines) -> Host:
    """A host for the VM, which waits longer than a node would: the machine may be busy."""
    return Host(installed, protocol=DEFAULT_PROTOCOL, log=lines, handshake_timeout_s=PATIENCE_S)


# What is written ----------------------------------------------------------------------------------


def test_there_is_one_executable_file_called_by_the_vms_id(example: Example) -> None:
    assert example.file.name == str(vm_id("timestampvm"))
    assert example.file.is_file()
    assert not example.file.is_symlink()
    assert stat.S_IMODE(example.file.stat().st_mode) == 0o755
    plugins = example.file.parent
    assert [each.name for each in plugins.parent.iterdir()] == ["plugins"]


def test_the_command_says_what_it_did_and_what_to_do_next(example: Example) -> None:
    vm = str(vm_id("timestampvm"))
    assert f"Installed timestampvm/1.0.0 as {example.file}" in example.output
    for hint in ("Restart the node", "--track-subnets", f'{{"{vm}": ["timestampvm"]}}', "vm-factory.log"):
        assert hint in example.output


def test_the_name_is_the_classes_unless_another_is_given(
    environment: Environment, plugins: Path, lines: Lines
) -> None:
    done = environment.vmsdk("install", TIMESTAMP, "--plugin-dir", plugins)
    assert done.returncode == 0, done.stderr
    (installed,) = plugins.iterdir()
    assert installed.name == str(vm_id("timestampvm"))
    assert f"the VM ID {vm_id('timestampvm')}" in done.stdout
    assert host_of(installed, lines).register() == "1.0.0"


def test_a_vm_whose_own_name_is_impossible_is_named(plugins: Path, source: Path) -> None:
    source.write_text(HEAD + CLASS + "OurVM.name = 'n' * 33\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="1 to 32 ASCII characters"):
        install(str(source), plugin_dir=plugins)
    assert list(plugins.iterdir()) == []


def test_installing_again_takes_the_place_of_the_first(
    environment: Environment, plugins: Path, source: Path, lines: Lines
) -> None:
    first = environment.install(TIMESTAMP, plugins, name="one")
    second = environment.install(source, plugins, name="one")
    assert second == first
    assert host_of(second, lines).register() == "2.0.0"


def test_the_same_settings_give_the_same_file(example: Example) -> None:
    first = example.file.read_bytes()
    assert example.environment.install(TIMESTAMP, example.file.parent).read_bytes() == first


# How it starts ------------------------------------------------------------------------------------


def test_it_starts_in_the_process_that_the_node_started_with_nothing_of_the_environment_left(
    example: Example, lines: Lines
) -> None:
    with host_of(example.file, lines) as host:
        assert host.chain.version() == "1.0.0"
        process = Path(f"/proc/{host.process.pid}")
        command = process.joinpath("cmdline").read_bytes().split(b"\0")
        variables = process.joinpath("environ").read_bytes().split(b"\0")
    assert command[0].decode() == str(example.environment.python)
    assert str(example.file).encode() in command
    names = {variable.partition(b"=")[0].decode() for variable in variables if variable}
    # Nodes pass on GRPC_...; PWD is what some shells add.
    names = {name for name in names if not name.startswith("GRPC_")} - {"PWD"}
    assert names == {"AVALANCHE_VM_RUNTIME_ENGINE_ADDR", "PYTHONHASHSEED"}


def test_the_registration_launch_is_a_clean_life(example: Example, lines: Lines) -> None:
    host = host_of(example.file, lines)
    assert host.register() == "1.0.0"
    assert host.process.exit_code == 0
    assert "Traceback" not in lines.text


def test_it_speaks_utf_8_unbuffered_and_hashes_alike_at_each_start(
    environment: Environment, plugins: Path, source: Path
) -> None:
    source.write_text(
        HEAD + CLASS + "print('Füße', sys.flags.utf8_mode, os.environ['PYTHONHASHSEED'], hash('text'))\n",
        encoding="utf-8",
    )
    installed = environment.install(source, plugins)
    said = []
    for _ in range(2):
        lines = Lines()
        host_of(installed, lines).register()
        said.append(lines.wait_for("Füße"))
    assert said[0] == said[1]
    assert said[0].startswith("Füße 1 0 ")


def test_the_code_is_compiled_when_it_is_installed(
    environment: Environment, plugins: Path, source: Path
) -> None:
    environment.install(source, plugins)
    assert list(source.parent.glob("__pycache__/ourvm.*.pyc"))


def test_the_handshake_does_not_wait_for_the_authors_imports(
    environment: Environment, plugins: Path, source: Path, tmp_path: Path, lines: Lines
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    source.write_text(HEAD + WAITS + CLASS, encoding="utf-8")
    installed = environment.install(source, plugins, f"--env=GATE={gate}")
    gate.unlink()
    host = host_of(installed, lines)
    try:
        host.connect()  # returns when the handshake is done, while the import still waits
        gate.touch()
        assert host.chain.version() == "2.0.0"
        host.chain.initialize()
    finally:
        assert host.stop() == 0


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file of a VM, and the file in the plugin directory that starts it."""
    folder = tmp_path_factory.mktemp("ours")
    plugins, source = folder / "plugins", folder / "ourvm.py"
    plugins.mkdir()
    source.write_text(HEAD + CLASS, encoding="utf-8")
    return source, install(str(source), name="ours", plugin_dir=plugins).path


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("class OurVM(\n", "SyntaxError"),
        ("sys.exit(3)\n", "SystemExit: 3"),
        ("del OurVM, TimestampVM\n", "there is no class derived from vmsdk.ChainVM"),
        ("OurVM.__init__ = lambda self: 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import vmsdk; vmsdk.serve(OurVM())\n", 'script: if __name__ == "__main__":'),
    ],
    ids=["missing module", "syntax", "exit", "no VM", "constructor", "serve"],
)
def test_code_that_fails_on_the_node_is_the_nodes_error_and_one_traceback_in_the_log(
    ours: tuple[Path, Path], mistake: str, message: str
) -> None:
    source, installed = ours
    source.write_text(HEAD + CLASS + mistake, encoding="utf-8")

    registration = Lines()
    host = host_of(installed, registration)
    with pytest.raises(CallFailed) as version:
        host.register()
    assert "the code of the VM ours can't be loaded" in str(version.value)
    assert message in str(version.value)
    assert registration.text.count("Traceback (most recent call last)") == 1

    lines = Lines()
    host = host_of(installed, lines)
    try:
        host.connect()
        with pytest.raises(ChainFatal) as initialize:
            host.chain.initialize()
        assert host.process.alive
        assert host.process.send_signal(signal.SIGTERM)  # without a Shutdown
        assert host.process.wait(PATIENCE_S) == 0
    finally:
        assert host.stop() == 0
    assert message in str(initialize.value)
    assert lines.text.count("Traceback (most recent call last)") == 1


def test_an_import_that_hangs_does_not_outlive_the_node(
    environment: Environment, plugins: Path, source: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    source.write_text(HEAD + WAITS + CLASS, encoding="utf-8")
    installed = environment.install(source, plugins, f"--env=GATE={gate}")
    gate.unlink()
    with node_to_kill([str(installed)], begin="connect"):
        pass


# From where ---------------------------------------------------------------------------------------


def test_paths_may_hold_what_shells_and_python_care_about(tmp_path: Path, lines: Lines) -> None:
    odd = tmp_path / """it's a "test" $HOME `id` \\N '''quoted''' %s"""
    plugins = odd / "plugins"
    plugins.mkdir(parents=True)
    source = odd / "the vm.py"
    shutil.copy(TIMESTAMP, source)
    installed = Environment(odd / "venv").install(source, plugins)
    assert host_of(installed, lines).register() == "1.0.0"


def test_a_class_of_a_module_of_the_current_folder_starts_from_everywhere(
    environment: Environment, plugins: Path, source: Path, lines: Lines
) -> None:
    done = environment.vmsdk(
        "install", "ourvm:OurVM", "--name", "ours", "--plugin-dir", plugins, cwd=source.parent
    )
    assert done.returncode == 0, done.stderr
    (installed,) = plugins.iterdir()
    assert host_of(installed, lines).register() == "2.0.0"


def test_an_installed_module_is_not_looked_for_where_the_command_ran(
    environment: Environment, plugins: Path, tmp_path: Path, lines: Lines
) -> None:
    (tmp_path / "examples").mkdir()  # which holds no module, so it is not the one
    target = "examples.timestamp.timestampvm:TimestampVM"
    done = environment.vmsdk("install", target, "--name", "x", "--plugin-dir", plugins, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (installed,) = plugins.iterdir()
    assert host_of(installed, lines).register() == "1.0.0"
    assert "sys.path[:1] = [] " in installed.read_text(encoding="utf-8")


def test_a_file_of_a_package_may_import_its_siblings(
    environment: Environment, plugins: Path, tmp_path: Path, lines: Lines
) -> None:
    package = tmp_path / "chain"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "rules.py").write_text("VERSION = '3.1'\n", encoding="utf-8")
    (package / "vm.py").write_text(
        HEAD + "from .rules import VERSION\nclass VM(TimestampVM):\n    version = VERSION\n", encoding="utf-8"
    )
    assert host_of(environment.install(package / "vm.py", plugins), lines).register() == "3.1"


def test_a_system_python_with_modules_on_pythonpath_will_do(plugins: Path, lines: Lines) -> None:
    folders = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
    done = subprocess.run(
        [
            os.path.realpath(sys.executable),
            "-m",
            "vmsdk",
            "install",
            TIMESTAMP,
            "--name",
            "x",
            "--plugin-dir",
            plugins,
        ],
        env={"PYTHONPATH": os.pathsep.join(folders), "HOME": str(plugins.parent)},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (installed,) = plugins.iterdir()
    assert host_of(installed, lines).register() == "1.0.0"


def test_an_interpreter_that_is_gone_is_named_with_the_cure(environment: Environment, plugins: Path) -> None:
    installed = environment.install(TIMESTAMP, plugins, "--protocol", "43")
    shutil.rmtree(environment.directory)
    done = subprocess.run([installed], env={}, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 127
    assert done.stderr == (
        f"vmsdk: Python is no longer at {environment.python}. Install timestampvm again: "
        f"vmsdk install {TIMESTAMP} --name timestampvm --plugin-dir {plugins} --protocol 43\n"
    )


# Options ------------------------------------------------------------------------------------------


def test_variables_reach_the_vm(environment: Environment, plugins: Path, source: Path, lines: Lines) -> None:
    source.write_text(HEAD + CLASS + "print('told', os.environ['A'], os.environ['B'])\n", encoding="utf-8")
    installed = environment.install(source, plugins, "--env", "A=it's 'so'", '--env=B=$HOME\\n"')
    host_of(installed, lines).register()
    assert lines.wait_for("told") == "told it's 'so' $HOME\\n\""


def test_the_log_level_is_that_of_the_installation(
    environment: Environment, plugins: Path, lines: Lines
) -> None:
    with host_of(environment.install(TIMESTAMP, plugins, "--log-level", "warning"), lines):
        pass
    assert "INFO" not in lines.text


def test_the_log_is_json_from_the_first_line_on(
    environment: Environment, plugins: Path, source: Path, lines: Lines
) -> None:
    source.write_text(HEAD + CLASS + "print('early')\n", encoding="utf-8")
    installed = environment.install(source, plugins, "--log-format", "json", "--log-level", "warn")
    host_of(installed, lines).register()
    assert json.loads(lines.wait_for("early"))["logger"] == "stdout"


def test_garbage_is_collected_in_a_chain_that_has_started(
    environment: Environment, plugins: Path, source: Path, lines: Lines
) -> None:
    text = "    def health_check(self):\n        import gc\n        return gc.isenabled()\n"
    source.write_text(HEAD + CLASS + text, encoding="utf-8")
    with host_of(environment.install(source, plugins), lines) as host:
        assert host.chain.health()["health"] is True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's data against a limit")
def test_a_vm_that_wants_more_memory_than_it_may_have_gets_an_error_and_lives(
    environment: Environment, plugins: Path, source: Path, lines: Lines
) -> None:
    source.write_text(
        HEAD + CLASS + "    def health_check(self): return len(bytearray(1 << 30))\n", encoding="utf-8"
    )
    with host_of(environment.install(source, plugins), lines) as host:
        assert host.chain.health()["health"] == 1 << 30
    with host_of(environment.install(source, plugins, "--memory-limit", "700M"), lines) as host:
        with pytest.raises(CallFailed, match="MemoryError"):
            host.chain.health()
        assert host.chain.version() == "2.0.0"


# What is refused ----------------------------------------------------------------------------------


def refused(target: Path | str, plugins: Path, kind: type[VMError], **options: object) -> str:
    """The message by which an installation is refused, which changes nothing."""
    before = {path: path.read_bytes() for path in plugins.iterdir() if path.is_file()}
    with pytest.raises(kind) as error:
        install(str(target), name="ours", plugin_dir=plugins, **options)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in plugins.iterdir() if path.is_file()} == before
    assert [each.name for each in plugins.parent.iterdir()] == [plugins.name]
    return str(error.value)


OURS = str(vm_id("ours"))


def test_a_file_that_vmsdk_did_not_write_is_left_alone(plugins: Path) -> None:
    (plugins / OURS).write_bytes(b"\x7fELF a plugin in another language")
    assert "was not written by vmsdk" in refused(TIMESTAMP, plugins, InstallError)


def test_a_launcher_that_was_edited_is_left_alone(plugins: Path) -> None:
    installed = install(str(TIMESTAMP), name="ours", plugin_dir=plugins).path
    installed.write_text(installed.read_text(encoding="utf-8").replace("INFO", "DEBUG"), encoding="utf-8")
    assert "was changed since vmsdk wrote it" in refused(TIMESTAMP, plugins, InstallError)


def test_a_link_is_left_alone(plugins: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    installed = install(str(TIMESTAMP), name="ours", plugin_dir=elsewhere).path
    (plugins / OURS).symlink_to(installed)
    assert "was not written by vmsdk" in refused(TIMESTAMP, plugins, InstallError)


def test_a_second_file_of_the_same_vm_is_named(plugins: Path) -> None:
    (plugins / f"{OURS}.py").touch()
    assert f"{OURS}.py is also a plugin of the VM {OURS}" in refused(TIMESTAMP, plugins, InstallError)


def test_a_target_that_is_not_there_is_named(plugins: Path) -> None:
    assert "there is no file missing.py" in refused("missing.py", plugins, TargetError)
    assert "there is no module missing_module in" in refused("missing_module", plugins, TargetError)


@pytest.mark.parametrize(
    ("mistake", "error", "log_format"),
    [
        ("os.environ['PATH']\n", "KeyError: 'PATH'", "plain"),
        ("os.environ['PATH']\n", "KeyError: 'PATH'", "json"),
        ("os.closerange(3, 256)\n", "must not call os.closerange", "plain"),
        (
            "os.closerange(3, 256)\nFILES = [open(os.devnull) for _ in range(9)]\n",
            "must not call os.closerange",
            "plain",
        ),
    ],
)
def test_a_vm_that_would_not_start_on_the_node_is_not_installed(
    plugins: Path, source: Path, mistake: str, error: str, log_format: str
) -> None:
    source.write_text(HEAD + CLASS + mistake, encoding="utf-8")
    message = refused(source, plugins, InstallError, log_format=log_format)
    assert '{"' not in message
    assert "as on a node" in message
    assert error in message
    assert "ourvm.py" in message


def test_a_signal_without_a_name_that_ends_the_import_has_a_number(plugins: Path, source: Path) -> None:
    number = signal.SIGRTMIN + 1
    source.write_text(f"import os\nos.kill(os.getpid(), {number})\n", encoding="utf-8")
    with pytest.raises(InstallError, match=rf"the import ended the process \(signal {number}\)"):
        install(str(source), plugin_dir=plugins)


def test_a_target_with_two_vms_asks_for_one(plugins: Path, source: Path) -> None:
    source.write_text(HEAD + CLASS + "class Other(TimestampVM): pass\n", encoding="utf-8")
    assert f"choose one, such as {source}:Other" in refused(source, plugins, InstallError)


def test_a_call_of_serve_that_an_import_would_run_is_found(plugins: Path, source: Path) -> None:
    source.write_text(HEAD + CLASS + "import vmsdk; vmsdk.serve(OurVM())\n", encoding="utf-8")
    assert 'script: if __name__ == "__main__":' in refused(source, plugins, InstallError)


def test_an_executable_is_to_be_copied(plugins: Path) -> None:
    message = refused("/bin/ls", plugins, InstallError)
    assert f"cp /bin/ls {plugins / OURS}" in message


def test_a_node_that_is_none_is_named(plugins: Path, tmp_path: Path) -> None:
    message = refused(TIMESTAMP, plugins, InstallError, node=Path(sys.executable))
    assert sys.executable in message
    assert "No such file" in refused(TIMESTAMP, plugins, InstallError, node=tmp_path / "missing")


def test_a_protocol_that_vmsdk_does_not_speak_is_named(plugins: Path) -> None:
    assert "protocol version 34 is not supported" in refused(TIMESTAMP, plugins, VMError, protocol=34)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"environment": {"A B": "x"}}, "'A B' is not a valid variable name"),
        ({"environment": {"PYTHONHASHSEED": "1"}}, "the variable 'PYTHONHASHSEED' is reserved"),
        ({"environment": {"A": "\0"}}, "contains a zero byte"),
        ({"environment": {"A": "\udcff"}}, "is not valid UTF-8"),
        ({"log_level": "LOUD"}, "'LOUD' is not a log level"),
        ({"log_format": "xml"}, "'xml' is not a log format: use plain or json"),
        ({"transport": "pigeon"}, "'pigeon' is not a transport"),
        ({"memory_limit_bytes": 1000}, "is too low"),
    ],
)
def test_a_setting_that_can_not_be_kept_is_named(
    plugins: Path, options: dict[str, object], message: str
) -> None:
    assert message in refused(TIMESTAMP, plugins, InstallError, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "x"], "give the VM to install"),
        (["--uninstall"], "--name NAME"),
        ([str(TIMESTAMP), "--name", "n" * 33], "1 to 32 ASCII characters"),
        ([str(TIMESTAMP), "--name", "x", "--protocol", "43", "--no-ask"], "not allowed with"),
        ([str(TIMESTAMP), "--name", "x", "--memory-limit", "lots"], "is not a size"),
        ([str(TIMESTAMP), "--name", "x", "--memory-limit", "1M"], "is too low"),
        ([str(TIMESTAMP), "--name", "x", "--env", "A"], "use NAME=VALUE"),
        (["--uninstall", "--name", "x"], "x is not installed"),
    ],
)
def test_a_command_that_is_called_wrongly_says_how(
    environment: Environment, plugins: Path, arguments: list[str], message: str
) -> None:
    done = environment.vmsdk("install", "--plugin-dir", plugins, *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(plugins.iterdir()) == []


def test_a_plugin_directory_that_is_not_there_is_not_made(environment: Environment, plugins: Path) -> None:
    missing = plugins / "missing"
    done = environment.vmsdk("install", TIMESTAMP, "--name", "x", "--plugin-dir", missing)
    assert done.returncode == 1
    assert f"mkdir -p {missing}" in done.stderr
    assert not missing.exists()


# List and uninstall -------------------------------------------------------------------------------


def test_the_list_shows_what_a_node_would_see(environment: Environment, plugins: Path) -> None:
    environment.install(TIMESTAMP, plugins, "--protocol", "43", name="one")
    environment.vmsdk("install", TIMESTAMP, "--name", "two", "--plugin-dir", plugins)
    edited = plugins / str(vm_id("two"))
    edited.write_text(edited.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    (plugins / str(vm_id("three"))).touch()
    (plugins / "README.md").touch()
    (plugins / "folder").mkdir()
    done = environment.vmsdk("install", "--list", "--plugin-dir", plugins)
    assert done.returncode == 0
    listed = done.stdout.splitlines()
    assert len(listed) == 4
    assert f"one: {vm_id('one')}, {TIMESTAMP}, protocol 43" in listed
    assert f"{vm_id('two')} was changed since vmsdk wrote it" in listed
    assert f"{vm_id('three')} was not written by vmsdk" in listed
    assert any(line.startswith("README.md is not named after a VM's ID") for line in listed)


def test_uninstalling_removes_that_file_and_no_other(environment: Environment, plugins: Path) -> None:
    one = environment.install(TIMESTAMP, plugins, name="one")
    environment.vmsdk("install", TIMESTAMP, "--name", "two", "--plugin-dir", plugins)
    done = environment.vmsdk("install", "--uninstall", "--name", "one", "--plugin-dir", plugins)
    assert done.returncode == 0
    assert str(one) in done.stdout
    assert [path.name for path in plugins.iterdir()] == [str(vm_id("two"))]


def test_uninstalling_leaves_alone_what_vmsdk_did_not_write(environment: Environment, plugins: Path) -> None:
    (plugins / str(vm_id("one"))).write_bytes(b"another")
    done = environment.vmsdk("install", "--uninstall", "--name", "one", "--plugin-dir", plugins)
    assert done.returncode == 1
    assert "was not written by vmsdk" in done.stderr
    assert (plugins / str(vm_id("one"))).read_bytes() == b"another"
