"""`vmsdk dev`: a VM runs without a node, its chain is kept, and both end well."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk.testing import DevClient

from .devcommand import TIMEOUT_S, TIMESTAMP_VM, Dev, OtherProcess, call, request

DATA = "0x" + "c0ffee".ljust(64, "0")

# Says what it was started with, then is the example.
TALKATIVE = f"""\
import os, sys
sys.path.insert(0, {str(TIMESTAMP_VM.parent)!r})
from timestampvm import TimestampVM

print("environment", sorted(os.environ))

class Talkative(TimestampVM):
    def initialize(self, ctx, genesis, upgrade, config):
        print("pid", os.getpid())
        print("given", genesis, upgrade, config, "protocol", ctx.protocol_version)
        (ctx.chain_data_dir / "own").touch()
        super().initialize(ctx, genesis, upgrade, config)
"""


def talkative(folder: Path, *methods: str) -> Path:
    """A file with the VM, and further methods of it."""
    file = folder / "vm.py"
    file.write_text(TALKATIVE + "".join(methods))
    return file


def vm_process(dev: Dev) -> OtherProcess:
    """The VM's process, once it says its number."""
    return OtherProcess(int(dev.line(r"vm \| pid (\d+)")[1]))


# A chain's life -----------------------------------------------------------------------------------


def test_a_proposed_block_is_accepted_shown_and_still_there_after_a_restart(tmp_path: Path) -> None:
    with Dev(TIMESTAMP_VM, folder=tmp_path) as dev:
        url = dev.url()
        call(url, "timestampvm.proposeBlock", data="0xc0ffee")
        block_id = dev.line(r"^block 1  (\S+)  .*80 bytes$")[1]
        dev.interrupt()
        assert dev.wait() == 0
    with Dev(TIMESTAMP_VM, folder=tmp_path) as dev:
        url = dev.url()
        assert dev.line(r"last block: 1  (\S+)")[1] == block_id
        assert call(url, "timestampvm.getBlock", id=block_id)["data"] == DATA
        dev.interrupt()
        assert dev.wait() == 0


@pytest.mark.parametrize("protocol", [35, 46])
def test_a_block_is_accepted_at_the_protocol_that_was_asked_for(tmp_path: Path, protocol: int) -> None:
    vm = talkative(tmp_path)
    with Dev(vm, "--protocol", protocol, folder=tmp_path) as dev:
        dev.line(rf"vm \| given .* protocol {protocol}$")
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"^block 1 ")
        dev.interrupt()
        assert dev.wait() == 0


def test_the_chain_is_reached_by_its_id_as_well_and_the_nodes_pages_show_it(tmp_path: Path) -> None:
    with Dev(TIMESTAMP_VM, folder=tmp_path) as dev:
        dev.line(r"data: \.vmsdk/timestampvm$")
        chain_id = dev.line(r"chain ID: (\S+)")[1]
        url = dev.url()
        assert url.endswith("/ext/bc/timestampvm")
        by_id = url.replace("timestampvm", chain_id)
        assert call(by_id, "timestampvm.lastAccepted")["height"] == 0
        base = url.removesuffix("/bc/timestampvm")
        status, health = request(f"{base}/health")
        assert (status, json.loads(health)["healthy"]) == (200, True)
        assert request(f"{base}/metrics")[0] == 200
        assert request(f"{base}/bc/nothing")[0] == 404
        dev.line(r"HTTP 404: GET /ext/bc/nothing")
        dev.interrupt()
        assert dev.wait() == 0
    # Keeps the data out of version control.
    assert (tmp_path / ".vmsdk" / ".gitignore").read_text() == "*\n"


def test_reset_forgets_the_chain_and_the_vms_own_files_and_nothing_else(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    data = tmp_path / "data"
    with Dev(vm, "--data-dir", data, "--genesis", "one", folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"^block 1 ")
        dev.interrupt()
        assert dev.wait() == 0
    (data / "files" / "left").touch()
    (data / "mine").touch()
    with Dev(vm, "--data-dir", data, "--reset", "--genesis", "two", folder=tmp_path) as dev:
        dev.line(r"last block: 0 ")
        dev.interrupt()
        assert dev.wait() == 0
    assert (data / "mine").exists()
    assert sorted(path.name for path in (data / "files").iterdir()) == ["own"]


# What the VM is given -----------------------------------------------------------------------------


def test_genesis_config_and_upgrade_are_files_or_texts_and_the_genesis_is_kept(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    (tmp_path / "genesis.bin").write_bytes(b"\xffgenesis")
    with Dev(vm, "--genesis", "genesis.bin", "--config", '{"a":1}', "--upgrade", "u", folder=tmp_path) as dev:
        dev.line(r"""given b'\\xffgenesis' b'u' b'\{"a":1\}'""")
        dev.url()
        dev.interrupt()
        assert dev.wait() == 0
    with Dev(vm, folder=tmp_path) as dev:
        dev.line(r"given b'\\xffgenesis' b'' b''")
        dev.url()
        dev.interrupt()
        assert dev.wait() == 0
    with Dev(vm, "--genesis", "another", folder=tmp_path) as dev:
        assert dev.wait() == 1
        assert "has a chain with a different genesis" in dev.output
        assert "--reset" in dev.output


def test_the_vm_sees_the_environment_of_a_plugin(tmp_path: Path) -> None:
    with Dev(talkative(tmp_path), folder=tmp_path) as dev:
        seen = dev.line(r"vm \| environment (\[.*\])")[1]
        dev.interrupt()
        assert dev.wait() == 0
    names = set(json.loads(seen.replace("'", '"')))
    # Python sets LC_CTYPE in the C locale, and shells may set PWD.
    assert names - {"LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"} == {
        "AVALANCHE_VM_RUNTIME_ENGINE_ADDR",
        "GRPC_VERBOSITY",
        "PYTHONHASHSEED",
        "VMSDK_PLUGIN_PID",
    }


def test_a_module_in_the_current_folder_is_a_target(tmp_path: Path) -> None:
    talkative(tmp_path)
    with Dev("vm:Talkative", folder=tmp_path) as dev:
        assert dev.url().endswith("/ext/bc/talkative")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_plugin_in_any_language_is_a_target(tmp_path: Path) -> None:
    plugin = executable(tmp_path, protocol=43)
    with Dev(plugin, "--protocol", "43", folder=tmp_path) as dev:
        url = dev.url()
        assert url.endswith("/ext/bc/my-plugin")
        call(url, "timestampvm.proposeBlock", data="0x01")
        dev.line(r"^block 1 ")
        dev.interrupt()
        assert dev.wait() == 0


def test_for_a_plugin_of_another_protocol_the_error_names_the_option(tmp_path: Path) -> None:
    with Dev(executable(tmp_path, protocol=43), "--protocol", "45", folder=tmp_path) as dev:
        assert dev.wait() == 1
        assert "protocol version mismatch" in dev.output
        assert "--protocol 43" in dev.output


def test_a_plugin_that_ends_at_once_is_reported_at_once(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\necho no luck today >&2\nexit 3\n")
    plugin.chmod(0o755)
    with Dev(plugin, folder=tmp_path) as dev:
        assert dev.wait() == 1
        assert "the VM ended before the handshake (exit status 3); its last output:" in dev.output
        assert dev.output.endswith("\n  no luck today")


def test_a_plugin_that_is_not_a_program_is_reported(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/nothing/here\n")
    plugin.chmod(0o755)
    with Dev(plugin, folder=tmp_path) as dev:
        assert dev.wait() == 1
        assert f"failed to start process: {plugin}: No such file or directory" in dev.output


def executable(folder: Path, *, protocol: int) -> Path:
    new = folder / "my-plugin.new"
    new.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(TIMESTAMP_VM.parent)!r})\n"
        f"import timestampvm, vmsdk\nvmsdk.serve(timestampvm.TimestampVM(), protocol_version={protocol})\n"
    )
    new.chmod(0o755)
    return new.replace(folder / "my-plugin")


# The end ------------------------------------------------------------------------------------------


def test_a_sigterm_stops_both_as_ctrl_c_does(tmp_path: Path) -> None:
    with Dev(talkative(tmp_path), folder=tmp_path) as dev:
        vm = vm_process(dev)
        dev.url()
        dev.terminate()
        assert dev.wait() == 0
        assert "the node shut the chain down" in dev.output
        vm.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_do_not_change_the_status_of_a_run_that_has_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Dev(talkative(tmp_path), folder=tmp_path) as dev:
        dev.url()
        os.kill(dev.pid, number)
        dev.line("^stopped$")
        while not dev.has_ended:
            os.kill(dev.pid, number)
        assert dev.wait() == 0


def test_ctrl_c_while_the_vm_starts_ends_both(tmp_path: Path) -> None:
    slow = "        import time; print('slow'); time.sleep(1.0)\n"
    with Dev(talkative(tmp_path, slow), folder=tmp_path) as dev:
        vm = vm_process(dev)
        dev.line(r"vm \| slow")
        dev.interrupt()
        assert dev.wait() == 0
        vm.wait()


def test_a_second_ctrl_c_kills_a_vm_that_hangs(tmp_path: Path) -> None:
    hanging = "    def shutdown(self):\n        import time; print('hanging'); time.sleep(1_000)\n"
    with Dev(talkative(tmp_path, hanging), folder=tmp_path) as dev:
        vm = vm_process(dev)
        dev.url()
        dev.interrupt()
        dev.line(r"vm \| hanging")
        dev.interrupt()
        assert dev.wait() == 130
        vm.wait()


@pytest.mark.parametrize(
    "others",
    [
        [signal.SIGTERM],  # as `timeout` does: to the command, and to its process group
        [signal.SIGINT, signal.SIGHUP],
    ],
)
def test_one_request_to_stop_that_comes_as_several_signals_kills_nothing(
    tmp_path: Path, others: list[signal.Signals]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    opened = os.open(pipe, os.O_RDWR)
    slow = f"    def shutdown(self):\n        print('saving'); print(open({str(pipe)!r}).readline())\n"
    code = (  # On a busy machine, they may come later than usual.
        "import sys\n"
        "from vmsdk.cli import main\n"
        "from vmsdk.cli.dev import session\n"
        "session.SAME_REQUEST_S = 60.0\n"
        "sys.exit(main())\n"
    )
    with Dev(talkative(tmp_path, slow), folder=tmp_path, command=("-c", code, "dev")) as dev:
        vm_process(dev)
        dev.url()
        dev.terminate()
        dev.line("^stopping the VM")  # Otherwise the system may merge two equal signals into one.
        for number in others:
            os.kill(dev.pid, number)
        dev.line(r"vm \| saving")
        os.write(opened, b"all is saved\n")
        assert dev.wait() == 0
        assert "all is saved" in dev.output
    os.close(opened)


def test_a_vm_that_dies_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    with Dev(talkative(tmp_path), folder=tmp_path) as dev:
        vm = vm_process(dev)
        dev.url()
        vm.kill()
        assert dev.wait() == 1
        report = dev.output[dev.output.index("the VM died (SIGKILL); its last output:") :]
        assert "the node set the state NORMAL_OP" in report


def test_a_vm_that_refuses_to_initialise_is_reported_with_its_own_words(tmp_path: Path) -> None:
    refusing = "        raise ValueError('the genesis has no accounts')\n"
    with Dev(talkative(tmp_path, refusing), folder=tmp_path) as dev:
        vm = vm_process(dev)
        assert dev.wait() == 1
        assert "shutting down chain: Initialize: ValueError: the genesis has no accounts" in dev.output
        assert dev.output.count("Traceback") == 1
        vm.wait()


def test_a_block_that_cannot_be_accepted_ends_the_chain_as_on_a_node(tmp_path: Path) -> None:
    failing = "    def store(self, block):\n        if block.height: raise OSError('full')\n        super().store(block)\n"  # noqa: E501
    with Dev(talkative(tmp_path, failing), folder=tmp_path) as dev:
        vm = vm_process(dev)
        url = dev.url()
        # The end may come before the answer.
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            call(url, "timestampvm.proposeBlock", data="0x01")
        assert dev.wait() == 1
        assert "shutting down chain: BlockAccept: OSError: full" in dev.output
        vm.wait()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("KeyError('lost')", "a bug in vmsdk: KeyError: 'lost'"),
        ("HostError('the database is gone')", "the database is gone"),
    ],
)
@pytest.mark.parametrize("maker", ["engine", "interval"])
def test_what_keeps_vmsdk_from_making_blocks_ends_both_with_its_reason(
    tmp_path: Path, error: str, reason: str, maker: str
) -> None:
    # The terminal is slow: the process must not end while a thread still writes.
    code = (
        "import sys, time\n"
        "from vmsdk.cli import main\n"
        "from vmsdk.host.chain import Chain\n"
        "from vmsdk.host.errors import HostError\n"
        f"def produce(chain): raise {error}\n"
        "Chain.produce = produce\n"
        "def slow(write): return lambda text: (time.sleep(0.01), write(text))[1]\n"
        "for each in sys.stdout, sys.stderr: each.write = slow(each.write)\n"
        "sys.exit(main())\n"
    )
    with Dev(talkative(tmp_path), "--alone", folder=tmp_path, command=("-c", code, "dev")) as dev:
        vm = vm_process(dev)
        url = dev.url()
        with contextlib.suppress(Exception):  # the end may come before the answer
            if maker == "engine":
                call(url, "timestampvm.proposeBlock", data="0x01")
            else:
                DevClient(url.partition("/ext/")[0]).set_interval_mining(0.01)
        assert dev.wait() == 1
        assert reason in dev.output.splitlines()
        if "bug" in reason:
            assert error.replace("(", ": ").rstrip(")") in dev.output.splitlines()  # the traceback's end
        vm.wait()


def test_a_bug_is_named_although_nobody_reads_the_errors(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from vmsdk.cli import main\n"
        "from vmsdk.host.chain import Chain\n"
        "def produce(chain): raise KeyError('lost')\n"
        "Chain.produce = produce\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "os.dup2(writer, 2)\n"
        "sys.exit(main())\n"
    )
    with Dev(talkative(tmp_path), "--alone", folder=tmp_path, command=("-c", code, "dev")) as dev:
        with contextlib.suppress(Exception):  # the end may come before the answer
            call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line("^a bug in vmsdk: KeyError: 'lost'$")
        assert dev.wait() == 1


def test_a_reader_that_goes_away_ends_both(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vmsdk", "dev", str(talkative(tmp_path)), "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as dev:
        assert dev.stdout is not None
        url, vm = "", None
        for line in dev.stdout:  # in no certain order
            if line.startswith(b"vm | pid"):
                vm = OtherProcess(int(line.split()[-1]))
            if b"URL: " in line:
                url = line.split()[-1].decode()
            if url and vm is not None:
                break
        dev.stdout.close()
        # It may have noticed already: then there is no answer, or one that says so.
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            call(url, "timestampvm.proposeBlock", data="0x01")
        assert dev.wait(TIMEOUT_S) == 0
    assert vm is not None
    vm.wait()


APP_BELOW_API = """\
    def create_handlers(self):
        from vmsdk.http import subpaths
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["PATH_INFO"].encode()]
        return {subpaths("/api"): app, "/%zz": app}
"""


def test_for_an_app_it_prints_a_url_to_open_and_no_call_that_may_not_exist(
    tmp_path: Path,
) -> None:
    with Dev(talkative(tmp_path, APP_BELOW_API), folder=tmp_path) as dev:
        url = dev.url()
        assert url.endswith("/ext/bc/talkative/api/")
        assert dev.line(r"^curl (\S+)$")[1] == url
        assert request(url) == (200, b"/")
        assert "jsonrpc" not in dev.output
        assert dev.output.count("/%zz") == 1  # the warning that it is not served


# Mistakes -----------------------------------------------------------------------------------------


def test_a_taken_port_is_reported_and_no_vm_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Dev(talkative(tmp_path), folder=tmp_path, port=port) as dev:
            assert dev.wait() == 1
            assert f"127.0.0.1:{port}" in dev.output
            assert "--port" in dev.output
            assert "vm |" not in dev.output


def test_two_runs_do_not_share_their_data(tmp_path: Path) -> None:
    with Dev(TIMESTAMP_VM, folder=tmp_path) as first:
        first.url()
        with Dev(TIMESTAMP_VM, folder=tmp_path) as second:
            assert second.wait() == 1
            assert "another vmsdk dev is using the data in .vmsdk/timestampvm" in second.output
            assert "--data-dir" in second.output
        first.interrupt()
        assert first.wait() == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", r"vm.py: there is no class derived from vmsdk.ChainVM"),
        ("import vmsdk\nclass Half(vmsdk.ChainVM): pass\n", r"the class Half lacks .*build_block"),
        (TALKATIVE + "class Other(Talkative): pass\n", r"has 2 VMs \(Other, Talkative\): choose one, such as .*:Other"),  # noqa: E501
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        (TALKATIVE + "    def __init__(self, size): pass\n", "Talkative.__init__ takes arguments .*: 'size'"),
    ],
    ids=["none", "unfinished", "several", "import", "constructor"],
)  # fmt: skip
def test_a_file_without_exactly_one_vm_is_reported_at_once(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "vm.py").write_text(source)
    with Dev("vm.py", folder=tmp_path) as dev:
        assert dev.wait() == 1
        dev.line(message)
        assert ".vmsdk" not in os.listdir(tmp_path)


def test_a_traceback_begins_in_the_authors_code(tmp_path: Path) -> None:
    (tmp_path / "vm.py").write_text("import other\n")
    (tmp_path / "other.py").write_text("1 / 0\n")
    with Dev("vm.py", folder=tmp_path) as dev:
        assert dev.wait() == 1
        frames = [line for line in dev.output.splitlines() if line.startswith("  File ")]
        assert [Path(frame.split('"')[1]).name for frame in frames] == ["vm.py", "other.py"]
        assert dev.output.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "missing.py: there is no file missing.py"),
        ([TIMESTAMP_VM, "--genesis", "missing.json"], "--genesis missing.json: there is no such file"),
        ([TIMESTAMP_VM, "--data-dir", "/dev/null/data"], "can't store the chain in /dev/null/data: Not a directory"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(tmp_path: Path, arguments: list[object], message: str) -> None:
    with Dev(*arguments, folder=tmp_path) as dev:
        assert dev.wait() == 1
        dev.line(message)


@pytest.mark.parametrize("package", ["h11", "rich"])
def test_without_the_extra_it_says_what_to_install(tmp_path: Path, package: str) -> None:
    hide = f"import sys; sys.modules[{package!r}] = None; from vmsdk.cli import main; sys.exit(main())"
    with Dev("dev", TIMESTAMP_VM, folder=tmp_path, command=("-c", hide)) as dev:
        assert dev.wait() == 1
        assert dev.output == f"vmsdk dev: vmsdk dev needs the package {package}: pip install 'vmsdk[dev]'"


def test_the_vms_process_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    with Dev(talkative(tmp_path), folder=tmp_path) as dev:
        vm = vm_process(dev)
        dev.url()
        os.kill(dev.pid, signal.SIGKILL)
        vm.wait()


# Messages -----------------------------------------------------------------------------------------


def test_create_handlers_that_raises_is_named_with_its_error(tmp_path: Path) -> None:
    raising = "    def create_handlers(self):\n        raise ValueError('no routes today')\n"
    with Dev(talkative(tmp_path, raising), folder=tmp_path) as dev:
        dev.line(r"^no HTTP, because CreateHandlers: .*no routes today; the VM's log above has the traceback")
        assert "returned none" not in dev.output
        dev.interrupt()
        assert dev.wait() == 0


def test_a_vm_that_a_node_would_find_unhealthy_is_reported(tmp_path: Path) -> None:
    unhealthy = "    def health_check(self):\n        return object()\n"
    with Dev(talkative(tmp_path, unhealthy), "--alone", folder=tmp_path) as dev:
        dev.line(r"^unhealthy: Health: .*health_check returned <object .*: it must return a JSON value")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_vm_without_handlers_is_named_as_such(tmp_path: Path) -> None:
    with Dev(
        talkative(tmp_path, "    def create_handlers(self):\n        return {}\n"), folder=tmp_path
    ) as dev:
        dev.line(r"^the VM has no HTTP handlers: create_handlers returned none")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_missing_main_guard_is_named_with_the_cure(tmp_path: Path) -> None:
    vm = talkative(tmp_path, "\nimport vmsdk\nvmsdk.serve(Talkative())\n")
    line = len(vm.read_text().splitlines())
    with Dev(vm, folder=tmp_path) as dev:
        assert dev.wait() == 1
        assert f"{vm}, line {line}: vmsdk.serve() is called while" in dev.output
        assert 'if __name__ == "__main__":' in dev.output
        assert "no node started it" not in dev.output


def test_a_crash_is_reported_with_its_signal_and_the_line_of_code(tmp_path: Path) -> None:
    crashing = "    def build_block(self):\n        import ctypes; ctypes.string_at(0)\n"
    with Dev(talkative(tmp_path, crashing), folder=tmp_path) as dev:
        # The VM may die before it responds: the connection ends, or dev responds with an error.
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        assert dev.wait() == 1
        assert "the VM died (SIGSEGV); its last output:" in dev.output
        assert "Fatal Python error: Segmentation fault" in dev.output
        assert "in build_block" in dev.output
        assert "no block" not in dev.output


def test_a_first_start_that_failed_leaves_no_genesis_behind(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    good = vm.read_text()
    vm.write_text(good + "        raise ValueError('the genesis has no accounts')\n")
    with Dev(vm, folder=tmp_path) as dev:
        assert dev.wait() == 1
    vm.write_text(good)
    with Dev(vm, "--genesis", "two", folder=tmp_path) as dev:
        dev.line(r"given b'two'")
        dev.url()
        dev.interrupt()
        assert dev.wait() == 0


def test_a_404_below_an_exact_prefix_is_explained_once(tmp_path: Path) -> None:
    exact = APP_BELOW_API.replace('{subpaths("/api"): app, "/%zz": app}', '{"/api": app}')
    with Dev(talkative(tmp_path, exact), folder=tmp_path) as dev:
        url = dev.url()
        assert url.endswith("/ext/bc/talkative/api")
        assert request(f"{url}/items")[0] == 404
        dev.line(r"^a node serves the handler at '/api' only for exactly that path: .*subpaths\('/api'\)")
        request(f"{url}/items")
        dev.interrupt()
        assert dev.wait() == 0
        assert dev.output.count("only for exactly that path") == 1


def test_a_second_ctrl_c_ends_at_once_although_a_child_of_the_vm_holds_its_pipes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "vm.py").write_text(
        "import pathlib, signal, subprocess\n"
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        f"pathlib.Path({str(pipe)!r}).write_text(str(child.pid))\n"
        "signal.pause()\n"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Dev("vm.py", folder=tmp_path, environment={"TMPDIR": str(temporary)}) as dev:
        child = OtherProcess(int(pipe.read_text()))
        dev.interrupt()
        dev.line(r"^stopping the VM")
        dev.interrupt()
        assert dev.wait() == 130
        child.kill()
    assert list(temporary.iterdir()) == []


def test_a_built_block_that_its_bytes_contradict_is_refused(tmp_path: Path) -> None:
    lying = """\
    def build_block(self):
        block = super().build_block()
        block.raw  # made once, so that the change below is not in it
        object.__setattr__(block, "height", 99)
        return block
"""
    with Dev(talkative(tmp_path, lying), folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"^no block: BuildBlock: .*whose height is 99, but parse_block reads 1 from its bytes")
        dev.interrupt()
        assert dev.wait() == 0
