"""`vmsdk doctor` names planted faults, in files and processes."""

from __future__ import annotations

import json
import os
import pwd
import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.process.doctorfaults import FAULTS, VM, Fault, bare, executable, launcher, script
from vmsdk import cli
from vmsdk.doctor import format as formats
from vmsdk.doctor.announcement import is_local
from vmsdk.doctor.diagnosis import diagnose
from vmsdk.doctor.finding import Finding, plain
from vmsdk.doctor.machine import _missing_extras, limits_of, own_limits
from vmsdk.doctor.node import _release, is_hidden, plugin_directories, running_nodes
from vmsdk.doctor.user import User
from vmsdk.install.plugindirectory import stem
from vmsdk.runtime.logrecords import LogFormat, readable
from vmsdk.runtime.release import Release

DEADLINE_S = 60.0
TRUE = Path("/bin/true").read_bytes()
NOBODY = pwd.getpwuid(65534) if 65534 in {each.pw_uid for each in pwd.getpwall()} else None
as_root = pytest.mark.skipif(os.geteuid() != 0 or NOBODY is None, reason="needs root, and a user nobody")


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A plugin directory."""
    path = tmp_path / "plugins"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't warn of a slow start, but for faults that say what is slow."""
    for name in ("SLOW_S", "HANDSHAKE_TIMEOUT_S"):
        monkeypatch.setattr(f"vmsdk.doctor.start.{name}", DEADLINE_S)
    for name in ("patience_s", "stop_timeout_s"):
        monkeypatch.setattr(f"vmsdk.doctor.trial.Trial.{name}", DEADLINE_S)


class Report:
    """What the command printed as JSON."""

    def __init__(self, status: int, text: str) -> None:
        self.json: dict[str, Any] = json.loads(text)
        assert self.json["status"] == status
        self.status = status
        self.plugins = self.json["plugins"]
        self.findings = [
            *self.json["findings"],
            *(found for each in self.plugins for found in each["findings"]),
        ]

    def coded(self, code: str) -> str:
        """The findings with this code, as text."""
        found = [each for each in self.findings if each["code"] == code]
        assert found, self.findings
        return json.dumps(found, ensure_ascii=False)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str | Path) -> Report:
        status = cli.main(["doctor", "--json", *map(str, arguments)])
        return Report(status, capsys.readouterr().out)

    return run


@pytest.mark.parametrize(
    "fault",
    [pytest.param(each, id=each.name, marks=[pytest.mark.slow] if each.slow else []) for each in FAULTS],
)
def test_names_a_planted_fault(
    fault: Fault, plugins: Path, doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in fault.patience:
        monkeypatch.setattr(f"vmsdk.doctor.{name}", seconds)
    report = doctor(fault.plant(plugins) or plugins, *fault.options)
    text = report.coded(fault.code)
    assert [word for word in fault.words if word not in text] == [], text
    assert report.status == fault.status, report.findings


def test_no_directory_is_to_be_made_in_place_of_a_plugin(plugins: Path, doctor: Any) -> None:
    assert "mkdir" not in doctor(plugins / str(VM)).coded("missing")


def test_a_file_that_is_still_being_copied(plugins: Path, doctor: Any) -> None:
    path = executable(plugins / str(VM), Path("/bin/true").read_bytes())
    with path.open("ab"):
        assert "still writing" in doctor(plugins).coded("busy")


# What is fine ------------------------------------------------------------------------------------


def test_a_good_plugin_has_timings_and_no_finding(plugins: Path, doctor: Any) -> None:
    launcher(plugins)
    (plugins / ".hidden").touch()
    (plugins / "folder").mkdir()
    report = doctor(plugins)
    (plugin,) = report.plugins
    assert (report.status, plugin["findings"]) == (0, [])
    assert (plugin["vm_id"], plugin["version"], plugin["protocol"]) == (str(VM), "1.0.0", 45)
    assert set(plugin["timings_s"]) == {"handshake", "version", "shutdown", "end"}


def test_one_faulty_plugin_does_not_hide_the_others(plugins: Path, doctor: Any) -> None:
    launcher(plugins)
    launcher(plugins, name="other")
    executable(plugins / "SkB92YpWm4Q2ijQHH34cqbKkCZWszsiQgHVjtNeFF2HdvDQU", "#!/nowhere\n")
    report = doctor(plugins)
    assert [each["version"] for each in report.plugins].count("1.0.0") == 2
    assert report.status == 1
    assert "/nowhere" in report.coded("no-interpreter")


def test_an_alias_in_the_nodes_configuration_is_a_name(plugins: Path, doctor: Any) -> None:
    bare(plugins).rename(plugins / "ours")
    configs = plugins.parent / "configs" / "vms"
    configs.mkdir(parents=True)
    (configs / "aliases.json").write_text(json.dumps({str(VM): ["ours"]}))
    report = doctor(plugins)
    assert (report.status, report.plugins[0]["findings"]) == (0, [])
    assert report.plugins[0]["vm_id"] == str(VM)


@pytest.mark.parametrize(
    ("program", "folder", "is_upgraded"),
    [
        ("python3.13t", "python3.13t", False),
        ("python3.13", "python3.13t", False),
        ("python3.14t", "python3.13t", True),
        ("python3.13t", "python3.13", True),
    ],
)
def test_a_free_threaded_python_has_a_folder_of_its_own(
    program: str, folder: str, is_upgraded: bool, plugins: Path, doctor: Any
) -> None:
    executable(plugins.parent / program, TRUE)
    environment = plugins.parent / "venv"
    (environment / "lib" / folder / "site-packages").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(plugins.parent / program)
    executable(plugins / str(VM), f"#!{environment}/bin/python\n")
    found = doctor(plugins, "--no-start").plugins[0]["findings"]
    assert [each["code"] for each in found] == ["upgraded-python"] * is_upgraded


def test_a_program_that_was_just_built_may_have_any_name(tmp_path: Path, doctor: Any) -> None:
    report = doctor(bare(tmp_path).rename(tmp_path / "myvm"))
    assert report.status == 0
    assert "mv " in report.coded("wrong-name")


def test_closed_output_leaves_the_exit_status(plugins: Path) -> None:
    executable(plugins / str(VM), "#!/bin/sh\nexit 1\n")
    command = ["sh", "-c", f'exec "$0" -m vmsdk doctor {plugins} >&-', sys.executable]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_start_can_be_left_out(plugins: Path, doctor: Any, capsys: pytest.CaptureFixture[str]) -> None:
    script(plugins, f"open({str(plugins / 'started')!r}, 'w')\n")
    assert doctor(plugins, "--no-start").status == 0
    cli.main(["doctor", str(plugins), "--no-start"])
    assert f"{VM}: not started" in capsys.readouterr().out
    assert not (plugins / "started").exists()


def test_the_text_is_for_people(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plugins / "README.md").touch()
    assert cli.main(["doctor", str(plugins)]) == 1
    text = capsys.readouterr().out
    assert "error[wrong-name]: this file is not a plugin: its name is neither" in text
    assert f"  --> {plugins / 'README.md'}\n" in text
    assert '   = node: the node does not start: invalid vmID: "README"\n' in text
    assert "0 plugins: 1 error, 0 warnings" in text
    assert "\033" not in text


def test_a_plugins_output_cannot_steer_the_terminal(
    plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executable(plugins / str(VM), "#!/bin/sh\nprintf '\\033[2Jgone\\n'\nexit 3\n")
    cli.main(["doctor", str(plugins)])
    assert "\\x1b[2Jgone" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--node", "/nowhere/metalgo"),
        ("--as", "no-such-user"),
        ("--node", "999999999"),
        ("--node", "https://x"),
        ("--node", "http://["),
        ("--node", "http://localhost:x"),
    ],
)
def test_wrong_usage_has_a_status_of_its_own(
    arguments: tuple[str, str], plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", str(plugins), *arguments]) == 2
    assert arguments[1].rpartition("/")[2] in capsys.readouterr().err


def test_without_a_path_it_looks_where_nodes_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctor: Any
) -> None:
    plugins = tmp_path / ".metalgo" / "plugins"
    plugins.mkdir(parents=True)
    launcher(plugins)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Those that run here are of other tests, which count how often they are asked.
    monkeypatch.setattr("vmsdk.cli.doctor.examination.running_nodes", list)
    report = doctor()
    assert str(plugins) in report.json["paths"]
    assert str(plugins / str(VM)) in [each["path"] for each in report.plugins]


# The node ----------------------------------------------------------------------------------------


def node(folder: Path, protocol: int) -> Path:
    """A node that prints its version."""
    return executable(
        folder / "metalgo",
        f"#!/bin/sh\necho 'metalgo/1.13.5 [database=v1.4.5, rpcchainvm={protocol}, go=1.23]'\n",
    )


def test_a_plugin_of_another_protocol_than_the_nodes(plugins: Path, doctor: Any) -> None:
    bare(plugins)
    report = doctor(plugins, "--node", node(plugins.parent, 43))
    assert (report.status, report.json["node"]["protocol"]) == (1, 43)
    assert "speaks protocol 45, and the node 43" in report.coded("protocol")


def test_a_vm_that_asks_its_node_speaks_any_protocol_that_vmsdk_knows(plugins: Path, doctor: Any) -> None:
    launcher(plugins)
    assert doctor(plugins, "--node", node(plugins.parent, 43)).status == 0
    assert "vmsdk" in doctor(plugins, "--node", node(plugins.parent, 99)).coded("protocol")


def test_a_nodes_api_is_asked_for_the_protocol(plugins: Path, doctor: Any) -> None:
    class API(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            result = {"version": "metalgo/1.13.5", "rpcProtocolVersion": "43"}
            self.wfile.write(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())

        def log_message(self, *args: object) -> None: ...

    bare(plugins)
    with HTTPServer(("127.0.0.1", 0), API) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        report = doctor(plugins, "--node", f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert "metalgo/1.13.5" in json.dumps(report.json["node"])
    assert "the node 43" in report.coded("protocol")


def test_a_process_lends_its_umask_directory_and_environment(
    plugins: Path, tmp_path: Path, doctor: Any
) -> None:
    script(
        plugins,
        "import os\nprint('umask', oct(os.umask(0)), 'in', os.getcwd(), 'with',"
        " os.environ['GRPC_OF_NODE'])\nsys.exit(3)\n",
    )
    command = "import os, sys; os.umask(0o27); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        cwd=tmp_path,
        env={"GRPC_OF_NODE": "7"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        report = doctor(plugins, "--node", str(process.pid))
        process.communicate()
    assert f"umask 0o27 in {tmp_path} with 7" in report.coded("exits")


@as_root
def test_a_directory_that_the_nodes_unit_hides(plugins: Path, doctor: Any) -> None:
    launcher(plugins)
    hide = f"mount -t tmpfs none {plugins.parent} && echo hidden; exec cat"
    with subprocess.Popen(["unshare", "-m", "sh", "-c", hide], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"hidden\n":
            process.communicate()
            pytest.skip("a container can't mount")
        try:
            text = doctor(plugins, "--no-start", "--node", str(process.pid)).coded("hidden")
            assert not is_hidden(process.pid, Path("/usr/bin"))
        finally:
            process.communicate()
    assert "ProtectHome=" in text
    assert not is_hidden(process.pid, plugins)


def test_limits_of_the_nodes_unit_are_the_plugins(plugins: Path, doctor: Any) -> None:
    script(plugins, "import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))\nsys.exit(3)\n")
    report = doctor(plugins, "--limit", "nofile=77", "--cwd", plugins, "--umask", "077")
    assert "(77, 77)" in report.coded("exits")


def test_a_limit_that_cannot_be_set_is_wrong_usage(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare(plugins)
    assert cli.main(["doctor", str(plugins), "--limit", f"nofile={2**62}"]) == 2
    assert "hard limit" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doctor", str(plugins), "--limit", f"as={2**63}"])
    assert "too large" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("cpu=1", "'cpu=1' is not a limit: use NAME=N, with a name of nofile, nproc, as,"),
        ("", "'' is not a limit: use NAME=N"),
        ("nofile", "'' is not a number for the limit nofile: use digits, or infinity for none"),
        ("nofile=many", "'many' is not a number for the limit nofile"),
        ("nofile=-1", "'-1' is not a number for the limit nofile"),
        (f"nofile={'9' * 10_000}", "the limit nofile is too large"),
    ],
)
def test_a_limit_that_is_none(limit: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doctor", "--limit", limit])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("word", ["infinity", "unlimited"])
def test_a_limit_may_be_none_at_all(word: str, plugins: Path, doctor: Any) -> None:
    script(plugins, "import resource\nprint(resource.getrlimit(resource.RLIMIT_FSIZE))\nsys.exit(3)\n")
    assert "(-1, -1)" in doctor(plugins, "--limit", f"fsize={word}").coded("exits")


def test_a_nodes_limits_that_cannot_be_set_are_lowered(
    plugins: Path, doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(plugins)
    limits = ((resource.RLIMIT_NOFILE, (1024, 2**62)),)
    monkeypatch.setattr("vmsdk.doctor.node.limits_of", lambda pid: limits)
    report = doctor(plugins, "--node", str(os.getpid()))
    assert report.status == 0
    assert "NOFILE" in report.coded("limit")


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_limits_that_cannot_be_read_are_unknown(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(resource, "prlimit", refuse)
    assert limits_of(os.getpid()) == ()


def test_unlimited_files_as_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    own_limits()


def test_a_path_of_a_node_has_its_own_variables(tmp_path: Path) -> None:
    def directory(given: str) -> Path:
        environment = {"HOME": "/h", "DATA": "/d"}
        return plugin_directories([f"--plugin-dir={given}"], environment, tmp_path, "/h")[0]

    assert directory("~/p") == Path("/h/p")
    assert directory("$DATA/${HOME}$NONE/p") == Path("/d/h/p")
    assert directory("p") == tmp_path / "p"


# Another user ------------------------------------------------------------------------------------


@contextmanager
def someones_node(folder: Path, plugin_dir: Path | None) -> Iterator[int]:
    """Run a program called metalgo as nobody."""
    program = shutil.copy(os.path.realpath("/bin/sh"), folder / "metalgo")
    arguments = [] if plugin_dir is None else [f"--plugin-dir={plugin_dir}"]
    with subprocess.Popen(
        ["sh", "-s", "--", *arguments],
        executable=program,
        stdin=subprocess.PIPE,
        env={"HOME": str(folder)},
        cwd="/",
        user="nobody",
        group=User.called("nobody").gid,
        extra_groups=[],
    ) as process:
        yield process.pid
        process.communicate()


@as_root
@pytest.mark.parametrize("default", [False, True])
def test_root_starts_nothing_of_another_users_node(
    default: bool, tmp_path: Path, doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / ".metalgo" / "plugins"
    plugins.mkdir(parents=True)
    _open(plugins)
    executable(plugins / str(VM), f"#!/bin/sh\n/usr/bin/id -u >> {tmp_path}/started\nexit 3\n")
    asked: list[Path] = []
    monkeypatch.setattr("vmsdk.doctor.node.ask_node", asked.append)
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    with someones_node(tmp_path, None if default else plugins) as pid:
        assert pid in running_nodes()
        monkeypatch.setattr("vmsdk.cli.doctor.examination.running_nodes", lambda: [pid])
        report = doctor()
        assert f"sudo vmsdk doctor --as nobody --node {pid}" in report.coded("other-user")
        assert str(plugins) not in report.json["paths"]
        assert not (tmp_path / "started").exists()
        assert asked == []
        (tmp_path / "started").touch()
        (tmp_path / "started").chmod(0o666)
        assert str(plugins) in doctor("--node", str(pid)).json["paths"]
    # The doctor may start it again, and abort that.
    assert set((tmp_path / "started").read_text().split()) == {str(User.called("nobody").uid)}


@as_root
def test_another_users_node_is_asked_as_that_user(tmp_path: Path) -> None:
    _open(tmp_path)
    program = executable(
        tmp_path / "metalgo",
        '#!/bin/sh\necho "metalgo/$(/usr/bin/id -u).$(/usr/bin/id -G) [rpcchainvm=43]"\n',
    )
    nobody = User.called("nobody")
    assert _release(program, nobody, named=False) is None
    assert _release(program, nobody, named=True) == Release(f"metalgo/{nobody.uid}.{nobody.gid}", 43)


@as_root
def test_root_starts_nothing_in_another_users_home(
    tmp_path: Path, doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / ".metalgo" / "plugins"
    plugins.mkdir(parents=True)
    os.chown(plugins, User.called("nobody").uid, -1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("vmsdk.cli.doctor.examination.running_nodes", list)
    report = doctor()
    assert str(plugins) in report.coded("other-user")
    assert str(plugins) not in report.json["paths"]


@as_root
def test_a_directory_that_the_user_cannot_list(plugins: Path, doctor: Any) -> None:
    plugins.chmod(0o700)
    for folder in plugins.parents:
        if folder.owner() == "root" and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    report = doctor(plugins, "--as", "nobody")
    assert report.status == 1
    assert "nobody can't list" in report.coded("unreadable")


@as_root
def test_a_source_that_the_user_cannot_read(plugins: Path, doctor: Any) -> None:
    _open(plugins)
    launcher(plugins)
    (plugins.parent / "source" / "vm.py").chmod(0o600)
    assert "nobody can't read" in doctor(plugins, "--as", "nobody").coded("unreadable")


@as_root
@pytest.mark.parametrize(
    ("before", "code", "words"),
    [
        (":", "no-loopback", "can't connect to itself"),
        ("ip link set lo up && ip address del 127.0.0.1/8 dev lo", "no-loopback", "can't connect to itself"),
        ("mount -t tmpfs tmpfs /dev", "no-device", "can't read /dev/urandom"),
        ("mount --bind {0} {0} && mount -o remount,bind,noexec {0}", "noexec", "the file system at {0} "),
    ],
)
def test_a_machine_of_its_own(before: str, code: str, words: str, plugins: Path) -> None:
    executable(plugins / str(VM), "#!/bin/sh\nexit 1\n")
    command = f'{before.format(plugins)} && exec "$0" -m vmsdk doctor --json {plugins}'
    unshare = ["unshare", "--mount", *(["--net"] if code == "no-loopback" else []), "sh", "-c"]
    if subprocess.run([*unshare, before.format(plugins)], capture_output=True, check=False).returncode != 0:
        pytest.skip("a container can't have namespaces of its own")
    done = subprocess.run([*unshare, command, sys.executable], capture_output=True, check=False)
    report = Report(1, done.stdout.decode())
    assert words.format(plugins) in report.coded(code)
    assert {each["code"] for each in report.findings} & {"internal", "vmsdk"} == set()


@as_root
def test_packages_that_the_user_cannot_read(plugins: Path, doctor: Any) -> None:
    _open(plugins)
    python = plugins.parent / "venv" / "bin" / "python"
    packages = plugins.parent / "venv" / "lib" / "python3" / "site-packages"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/sh")
    (packages / "vmsdk").mkdir(parents=True)
    (packages / "vmsdk" / "__init__.py").touch()
    packages.chmod(0o700)
    launcher(plugins, python=str(python))
    assert "to read the packages of its Python" in doctor(plugins, "--as", "nobody").coded("unreadable")


@as_root
def test_a_plugin_runs_as_the_user(plugins: Path, doctor: Any) -> None:
    _open(plugins)
    executable(plugins / str(VM), "#!/bin/sh\necho i am $(/usr/bin/id -u) of $(/usr/bin/id -G)\nexit 3\n")
    nobody = User.called("nobody")
    report = doctor(plugins, "--as", "nobody")
    assert f"i am {nobody.uid} of {nobody.gid}" in report.coded("exits")


@as_root
def test_a_limit_of_processes_counts_those_of_the_user(plugins: Path, doctor: Any) -> None:
    report = doctor(plugins, "--as", "nobody", "--limit", "nproc=3")
    assert "nobody has" in report.coded("thread-limit")


def _open(plugins: Path) -> None:
    """Let everyone into the test's own folders."""
    base = Path(os.environ.get("TMPDIR", "/tmp"))
    for folder in (plugins, *plugins.parents):
        if folder.is_relative_to(base) and folder != base:
            folder.chmod(0o755)


# Its own processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_children(number: signal.Signals, plugins: Path) -> None:
    fifo = plugins.parent / "pids"
    os.mkfifo(fifo)
    executable(plugins / str(VM), f"#!/bin/sh\n/bin/sleep 600 & echo $$ $! > {fifo}\nwait\n")
    with subprocess.Popen(
        [sys.executable, "-m", "vmsdk", "doctor", plugins], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        pids = [int(each) for each in fifo.read_text().split()]
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + number
    assert errors == b""
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


def test_an_error_of_its_own_is_reported_and_the_rest_goes_on(
    plugins: Path, monkeypatch: pytest.MonkeyPatch, doctor: Any
) -> None:
    launcher(plugins)
    monkeypatch.setattr("vmsdk.doctor.machine.findings", lambda *_, **__: 1 / 0)
    report = doctor(plugins)
    assert report.status == 3
    assert "division by zero" in report.coded("internal")
    assert report.plugins[0]["version"] == "1.0.0"


# Words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("a.tar.gz", "a.tar"), (".hidden", ""), ("a.", "a"), ("vm", "vm"), (".a.b", ".a")]
)
def test_a_node_drops_the_last_extension(name: str, expected: str) -> None:
    assert stem(name) == expected


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (
            "./vm: error while loading shared libraries: libfoo.so.1: cannot open shared object file",
            "shared-library",
        ),
        ("./vm: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./vm)", "shared-library"),
        ("panic: runtime error: index out of range", "crash"),
        ("thread 'main' panicked at src/main.rs:3:5:", "crash"),
        ("OSError: [Errno 24] Too many open files", "too-many-files"),
        ("MemoryError", "memory"),
        ("OSError: [Errno 30] Read-only file system: '/opt/x'", "read-only"),
        ("PermissionError: [Errno 13] Permission denied: '/root/x'", "permission"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/opt/x'", "missing-file"),
        ("RuntimeError: Could not determine home directory.", "environment"),
        ("ImportError: /x.so: undefined symbol: PyFoo", "import-error"),
        ("/bin/sh: 1: jq: not found", "command"),
        ("OSError: [Errno 98] Address already in use", "port"),
        ("RuntimeError: Failed to bind to address 127.0.0.1:80", "port"),
        ("env: 'python3 -u': No such file or directory", "interpreter"),
        ("env: can't execute 'python9': No such file or directory", "interpreter"),
        ("/p/vm: line 2: /opt/vm: cannot execute: required file not found", "command"),
        ("/p/vm: 2: exec: /opt/vm: Exec format error", "command"),
        ("/p/vm: line 2: RPC_URL: unbound variable", "environment"),
        ("/p/vm: 2: RPC_URL: parameter not set", "environment"),
        ("Error: JAVA_HOME is not set", "environment"),
        ("/usr/bin/python3: No module named numpy", "missing-module"),
        ("vm: /lib/libfoo.so.1: cannot open shared object file: Permission denied", "permission"),
        ("Error loading shared library libfoo.so.1: No such file or directory", "shared-library"),
        ("ImportError: /x.so: version `GLIBCXX_3.4.32' not found", "shared-library"),
        ("ImportError: /x.so: cannot allocate memory in static TLS block", "import-error"),
        ("ImportError: cannot import name 'cygrpc' from 'grpc._cython'", "import-error"),
        ("IO error: lock /d/LOCK: Resource temporarily unavailable", "locked"),
        ("sqlite3.OperationalError: database is locked", "locked"),
        ("sh: 1: Cannot fork", "thread-limit"),
        ("locale.Error: unsupported locale setting", "locale"),
        ("OSError: [Errno 27] File too large", "file-size"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
        ("vmsdk: Python is no longer at /opt/x. Install vm again: vmsdk install", "vmsdk"),
        ("IndentationError: unexpected indent", "syntax-error"),
        ("vm: symbol lookup error: vm: undefined symbol: XML_Parse", "shared-library"),
        ("Error relocating /opt/vm: __strdup: symbol not found", "shared-library"),
        ("/p/vm: 2: source: not found", "interpreter"),
        ("/p/vm: 2: set: Illegal option -o pipefail", "interpreter"),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility.", "import-error"),
        ("importlib.metadata.PackageNotFoundError: No package metadata was found for vm", "missing-module"),
        ("zoneinfo._common.ZoneInfoNotFoundError: 'No time zone found with key A/B'", "missing-module"),
        ("ImportError: bad magic number in 'helper': b'\\xcb'", "bytecode"),
        ("EOFError: marshal data too short", "bytecode"),
        ("ValueError: bad marshal data (unknown type code)", "bytecode"),
        ("pkg_resources.DistributionNotFound: The 'vm>=1' distribution was not found", "missing-module"),
        ("AttributeError: module 'vmsdk' has no attribute 'Chains'", "no-vmsdk"),
        ("ImportError: cannot import name 'Chains' from 'vmsdk' (/x/__init__.py)", "no-vmsdk"),
        ("/p/vm: CPU ISA level is lower than required", "processor"),
        ("This program can only be run on AMD64 processors with v3 microarchitecture support.", "processor"),
        ("OSError: [Errno 97] Address family not supported by protocol", "sandbox"),
        ("PermissionError: [Errno 1] Operation not permitted", "sandbox"),
        ("fatal: socket: operation not permitted", "sandbox"),
        ("PermissionError: [Errno 1] Operation not permitted: '/opt/x'", "sandbox"),
        ("chown: changing ownership of '/opt/x': Operation not permitted", "sandbox"),
        ("Error: setuid: Operation not permitted (os error 1)", "sandbox"),
        ("Error: EPERM: operation not permitted, chown '/opt/x'", "sandbox"),
        ("ImportError: x.so: cannot enable executable stack as shared object requires: no", "sandbox"),
        ("OSError: [Errno 28] inotify watch limit reached", "watches"),
        ("OS file watch limit reached. No space left on device (os error 28)", "watches"),
        ("sqlite3.OperationalError: unable to open database file", "permission"),
        ("FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp']", "permission"),
        ("KeyError: 'getpwuid(): uid not found: 54321'", "environment"),
        ("OSError: [Errno 5] Input/output error: '/opt/x'", "disk"),
        ("cp: Stale file handle", "disk"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "network"),
        ("ssl.SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "network"),
        ("/p/vm: line 3: cd: /opt/none: No such file or directory", "missing-file"),
        ("/p/vm: 2: cd: can't cd to /opt/none", "missing-file"),
        ("/p/vm: 2: .: cannot open /opt/none/bin/activate: No such file", "missing-file"),
        ("/p/vm: 2: cannot create /var/log/none/vm.log: Directory nonexistent", "missing-file"),
        ("Error: Unable to access jarfile vm.jar", "missing-file"),
        ("Error: Cannot find module '/opt/vm.js'", "missing-file"),
        ("OSError: [Errno 6] No such device or address", "environment"),
        ("OSError: [Errno 25] Inappropriate ioctl for device", "environment"),
        ("RuntimeError: can't listen at 127.0.0.1:0: [Errno 1] Operation not permitted", "listen"),
        ("RuntimeError: can't listen at 127.0.0.1:0: [Errno 98] Address already in use", "port"),
        ("ValueError: signal only works in main thread of the main interpreter", "thread"),
        ("redis.exceptions.ConnectionError: Error 111 connecting to x. Connection refused.", "network"),
    ],
)
def test_output_says_why(output: str, code: str) -> None:
    found = diagnose(["some line", output, "another"])
    assert found is not None
    assert found.code == code
    assert "{" not in found.what + found.cure
    assert not found.what.endswith(": ")


TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/vm.py", line 2, in f\n    x()\n'


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("ModuleNotFoundError: No module named '_sqlite3'", "a part of Python itself"),
        ("ModuleNotFoundError: No module named 'yaml'", "install PyYAML"),
        ("ModuleNotFoundError: No module named 'imp'", "another version of Python"),
        ("ModuleNotFoundError: No module named 'vmsdk.chain.fees'", "no module vmsdk.chain.fees"),
        ("ModuleNotFoundError: No module named 'grpc_health'", "install --upgrade vmsdk"),
        ("ImportError: cannot import name 'Enum' from 'enum' (/opt/vm/enum.py)", "rename it"),
        ("AttributeError: partially initialized module 'enum' has no attribute 'Enum'", "called enum.py"),
        ("ImportError: cannot import name 'x' from 'a' (most likely due to a circular import)", "each other"),
        ("ImportError: attempted relative import with no known parent package", "__init__.py"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "install 'setuptools<81'"),
        ("PackageNotFoundError: No package metadata was found for ruamel.yaml", "install ruamel.yaml"),
        ("OSError: [Errno 116] Stale file handle: '/opt/x'", "mount fails: [Errno 116] Stale file handle"),
        ("2026/11/27 05:00:00 chown /opt/x: operation not permitted", "needs root"),
        ("Error: Cannot find module 'express'", "npm install express in"),
        ("Error: Cannot find module '@grpc/grpc-js/build'", "npm install @grpc/grpc-js in"),
        (
            "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'ws' imported from /opt/vm.mjs",
            "npm install ws",
        ),
        ("Error: Cannot find module './helper'", "needs ./helper, which does not exist beside"),
        ("Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/opt/a.js' imported from /b", "needs /opt/a.js,"),
        (f"{TRACEBACK}struct.error: too short", "raises struct.error: too short"),
        (f"{TRACEBACK}Stop", "raises Stop"),
    ],
)
def test_output_says_how_to_mend_it(output: str, words: str) -> None:
    found = diagnose([output])
    assert found is not None
    assert words in f"{found.what} {found.cure}"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"(\xb5/\xfd" + bytes(80), "zstd"),
        (b"!<arch>\ndebian-binary" + bytes(80), "Debian package"),
        (b"vm/".ljust(257, b"\0") + b"ustar", "tar archive"),
        (b'{"message": "Not Found"}', "JSON"),
        (b"\xca\xfe\xba\xbe\0\0\0\x41" + bytes(80), "class of Java"),
        (b"%PDF-1.7\n", "PDF"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\xa7\r\r\n" + bytes(12), "compiled Python"),
        (bytes(200), "zero bytes"),
        (b"\x7fELF", "cut short"),
        (b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x04\0>\0" + bytes(60), "core dump"),
        (TRUE[:16] + b"\x01" + TRUE[17:64], "object file"),
    ],
)
def test_what_is_not_a_program_is_named(head: bytes, words: str) -> None:
    assert words in next(formats.causes(head, Path("vm")))[1]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_program_of_32_bits_names_its_loader(order: str) -> None:
    ident = b"\x7fELF\x01" + (b"\x01" if order == "<" else b"\x02") + bytes(10)
    head = ident + struct.pack(f"{order}2H5I3H", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1) + bytes(6)
    loader = struct.pack(f"{order}5I", 3, 84, 0, 0, 19) + bytes(12) + b"/lib/ld-linux.so.2\0"
    assert formats.elf_interpreter(head + loader) == "/lib/ld-linux.so.2"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("localhost:80", True), ("[::1]:80", True), ("unix:/s", True), ("10.0.0.1:80", False), ("x:80", False)],
)
def test_whether_an_address_is_of_this_machine(address: str, expected: bool) -> None:
    assert is_local(address) is expected


def test_an_extra_lacks_only_what_this_python_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    markers = ("python_version < '3.1' and extra == 'bundle'", "extra == 'keys'", "extra == 'docs'")
    listed = [f"nosuch-package>=2; {each}" for each in markers]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: listed)
    assert _missing_extras() == {"keys"}


def test_a_user_needs_no_name() -> None:
    assert User.called("4000000000") == ("4000000000", 4000000000, 4000000000, (4000000000,))


@pytest.mark.parametrize(
    "line",
    [
        "[11-27|05:00:00.000] INFO main: No module named 'uvloop', falling back to asyncio",
        "INFO uvloop: No module named 'uvloop'",
        "ModuleNotFoundError: No module named 'uvloop', falling back to asyncio",
        "info: HOME is not set, using default",
        "warning: JAVA_HOME not set",
        "WARN: [Errno 97] Address family not supported by protocol",
        "WARN metrics: port 9100: Address already in use; metrics are off",
        "[11-27|05:00:00.000] WARN main: Too many open files: idle ones are closed",
        "json: cannot unmarshal data of the genesis",
        "warning: Cannot find module 'bufferutil', using the slower one",
        f"{TRACEBACK}ready",
        TRACEBACK.partition("\n")[2] + "Ready: yes",
    ],
)
def test_what_a_process_prints_before_it_continues_is_not_a_reason(line: str) -> None:
    assert diagnose([line, "bye"]) is None


@pytest.mark.parametrize(
    "lines",
    [
        [
            "Error processing line 1 of /opt/venv/lib/python3.11/site-packages/hook.pth:",
            "",
            "  Traceback (most recent call last):",
            "  ModuleNotFoundError: No module named 'hook'",
            "",
            "Remainder of file ignored",
        ],
        [
            "Error in sitecustomize; set PYTHONVERBOSE for traceback:",
            "ModuleNotFoundError: No module named 'hook'",
        ],
    ],
)
def test_what_python_prints_about_hooks_of_its_start_is_not_a_reason(lines: list[str]) -> None:
    assert diagnose([*lines, "bye"]) is None
    found = diagnose([*lines, "ModuleNotFoundError: No module named 'numpy'"])
    assert found is not None
    assert "numpy" in found.what


def test_an_unset_variable_is_a_reason_in_an_error_or_at_the_end() -> None:
    for lines in (["Error: JAVA_HOME is not set", *["later"] * 20], ["starting", "JAVA_HOME is not set"]):
        found = diagnose(lines)
        assert found is not None
        assert found.code == "environment"
    assert diagnose(["JAVA_HOME is not set", *["later"] * 20]) is None


def test_the_name_of_a_library_is_a_whole_word_of_limited_length() -> None:
    words = "libx.so.1: cannot open shared object file"
    found = diagnose([f"ImportError: {words}"])
    assert found is not None
    assert found.what == "the shared library libx.so.1 is missing"
    # With a limit, the time to find none is linear in what is printed.
    assert diagnose(["x.so" * 100 + words]) is None


def test_texts_of_a_plugin_are_cut() -> None:
    text = Finding("error", "not-loaded", "vm", "x" * 100_000, "y" * 100_000, node="z" * 100_000).text(plain)
    assert len(text) < 7_000


LOGGED = "import os\nimport vmsdk\nTOKEN = os.environ['MY_TOKEN']\n"


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_a_failure_is_explained_in_each_format_of_the_log(
    plugins: Path, doctor: Any, log_format: LogFormat
) -> None:
    launcher(plugins, LOGGED, log_format=log_format)
    text = doctor(plugins).coded("environment")
    assert "MY_TOKEN" in text
    assert "vm.py:3" in text


def test_a_record_in_json_is_read_as_a_plain_one() -> None:
    stack = "Traceback (most recent call last):\n  File \"vm.py\", line 3\nKeyError: 'A'"
    record = {"level": "error", "logger": "vm", "msg": "it fails", "stacktrace": stack}
    assert readable(json.dumps(record)) == ["ERROR vm: it fails", *stack.splitlines()]
    assert readable(json.dumps({"level": "info", "logger": "stderr", "msg": "panic: x"})) == ["panic: x"]
    for line in ('{"level": "error", "msg": "cu', '{"a": 1}', "{", "[1]", "", "text"):
        assert readable(line) == [line]


SCRIPT = b'#!/bin/sh\ntail -n +5 "$0" >/dev/null\ncat >/dev/null <<E\nan answer\r\nE\n'


@pytest.mark.parametrize("more", [b"", b"exit 0\nPK\x03\x04\0\0a\r\nb\xff\r\n"])
def test_line_ends_in_the_data_of_a_script_are_not_a_fault(plugins: Path, doctor: Any, more: bytes) -> None:
    path = plugins / str(VM)
    path.write_bytes(SCRIPT + f"exec {bare(plugins, name='python')}\n".encode() + more)
    path.chmod(0o755)
    report = doctor(path)
    assert (report.status, report.plugins[0]["findings"]) == (0, [])


def test_the_line_ends_of_a_payload_are_left_alone(plugins: Path, doctor: Any) -> None:
    executable(plugins / str(VM), b"#!/bin/sh\n:\r\nexit 1\r\n\0\xff\r\n")
    text = doctor(plugins).coded("line-endings")
    assert "sed" not in text
    assert "leave what follows it" in text


def test_output_without_a_known_reason_says_nothing() -> None:
    assert diagnose(["all is well", "bye"]) is None
