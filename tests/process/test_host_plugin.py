"""How the host starts and stops a plugin process."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import pytest
from google.protobuf.empty_pb2 import Empty

from tests.waiting import wait_until
from vmsdk.host.client import VMClient
from vmsdk.host.errors import EndedBeforeHandshake, HandshakeFailed, ProtocolMismatch, StartFailed
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, PluginProcess
from vmsdk.host.runtime import RuntimeService
from vmsdk.protocol import DEFAULT_PROTOCOL, protocol

PLUGINS = Path(__file__).parent / "plugins"
DEADLINE_S = 60


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(PLUGINS / script), *arguments]


class Lines:
    """What a plugin has written, line by line, to be waited for."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[str, str]] = SimpleQueue()

    def __call__(self, stream: str, line: str) -> None:
        self._queue.put((stream, line))

    def next(self) -> tuple[str, str]:
        return self._queue.get(timeout=DEADLINE_S)


def surroundings(process: PluginProcess, lines: Lines) -> dict[str, object]:
    """What a plugin that never announces itself was started with."""
    with pytest.raises(HandshakeFailed):
        process.start()
    told: dict[str, object] = json.loads(lines.next()[1])
    return told


def await_end_of(pid: int) -> None:
    """Wait until no process has *pid*."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        assert ended, f"process {pid} still runs"
    finally:
        os.close(descriptor)


def test_a_plugin_is_given_what_a_node_gives_it() -> None:
    lines = Lines()
    nodes = {"GRPC_VERBOSITY": "error", "GODEBUG": "x=1", "PATH": "/bin", "LANG": "C", "MY_GRPC_X": "1"}
    process = PluginProcess(command("surroundings.py"), log=lines, patient=False, environment=nodes)
    told = surroundings(process, lines)
    environment = told["environment"]
    assert isinstance(environment, dict)
    assert environment.pop("AVALANCHE_VM_RUNTIME_ENGINE_ADDR").startswith("127.0.0.1:")
    assert environment == {"GRPC_VERBOSITY": "error", "GODEBUG": "x=1"}
    assert told["argv"] == process.argv
    assert told["stdin"] == "/dev/null"
    assert told["descriptors"] == [0, 1, 2]
    assert told["directory"] == os.getcwd()
    assert told["parent"] == os.getpid()
    assert told["group"] == os.getpgrp()
    assert told["death signal"] == signal.SIGTERM


def test_no_signal_is_ignored_at_the_plugins_start() -> None:
    lines = Lines()
    script = 'while read -r line; do case $line in SigIgn*) echo "$line";; esac; done < /proc/self/status'
    with pytest.raises(HandshakeFailed):
        PluginProcess(["/bin/sh", "-c", script], log=lines, patient=False).start()
    # Not so signals 32 and 33: glibc's own, which nobody can send, and which its posix_spawn
    # ignores for good (GNU make uses that, and we are its children's children).
    plugin_ignores = int(lines.next()[1].split()[1], 16)
    # What we ourselves ignore (a shell's background job ignores Ctrl-C and more), a node's plugin
    # inherits, too.
    assert plugin_ignores & ~_ignored_by_us() & 0x7FFFFFFF == 0


def _ignored_by_us() -> int:
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("SigIgn")
    ]
    # SIGPIPE and SIGXFSZ are Python's own doing, which must not reach a plugin.
    return int(line.split()[1], 16) & ~(1 << signal.SIGPIPE - 1) & ~(1 << signal.SIGXFSZ - 1)


def test_a_plugin_is_an_executable_path_and_nothing_else(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv, flush=True)\n")
    plugin.chmod(0o700)
    lines = Lines()
    with pytest.raises(HandshakeFailed):
        PluginProcess(plugin, log=lines, patient=False).start()
    assert lines.next() == ("stdout", str([str(plugin)]))


def test_edge_3_at_the_handshake_the_plugin_takes_connections() -> None:
    with PluginProcess(command("bare_vm.py", "45"), protocol=45, stop_timeout_s=0.3) as process:
        assert process.address is not None
        client = VMClient(process.address)
        assert client.Version(Empty(), timeout=DEADLINE_S).version == "bare/1.0.0"
        client.close()
        assert process.handshake_s is not None
        assert process.handshake_s > 0


def test_edge_4_a_mismatch_is_reported_with_both_versions_and_the_plugin_ends() -> None:
    process = PluginProcess(command("bare_vm.py", "44"), protocol=43)
    with pytest.raises(ProtocolMismatch) as caught:
        process.start()
    error = caught.value
    assert (error.host, error.plugin) == (43, 44)
    assert str(error).startswith(
        "handshake failed: RPCChainVM protocol version mismatch between AvalancheGo and Virtual "
        "Machine plugin. "
        "AvalancheGo version v1.13.5 implements RPCChainVM protocol version 43. "
        f"The VM located at {sys.executable} implements RPCChainVM protocol version 44. Please make sure"
    )
    assert not process.alive
    assert process.exit_code is not None


def test_the_timeouts_are_those_of_a_node() -> None:
    assert (HANDSHAKE_TIMEOUT_S, GRACEFUL_STOP_TIMEOUT_S) == (5, 5)


def test_edge_6_a_plugin_that_never_announces_itself_is_stopped_at_the_timeout() -> None:
    process = PluginProcess(command("silent.py"), handshake_timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(HandshakeFailed, match=r"^handshake failed: vm process not found$"):
        process.start()
    assert time.monotonic() - began >= 0.5
    assert process.exit_code == -signal.SIGTERM


def test_edge_7_a_crash_is_noticed_only_at_the_timeout_and_its_last_output_is_kept() -> None:
    ended_at_s: list[float] = []

    class Runtime(RuntimeService):
        def wait(self, timeout_s: float) -> bool:
            process.wait(DEADLINE_S)
            ended_at_s.append(time.monotonic())
            return super().wait(timeout_s)

    runtime = Runtime(protocol(DEFAULT_PROTOCOL), "")
    process = PluginProcess(command("crashes.py"), handshake_timeout_s=0.5, runtime=runtime)
    with pytest.raises(EndedBeforeHandshake) as caught:
        process.start()
    assert time.monotonic() - ended_at_s[0] >= 0.5
    assert str(caught.value) == (
        "handshake failed: vm process not found: the plugin process exited (exit status 1); "
        "the plugin's last lines:\n  genesis of a failure"
    )
    assert caught.value.output == ("genesis of a failure",)
    assert process.exit_code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGRTMIN + 1])
def test_a_signal_that_ends_a_plugin_is_named_or_numbered(number: int) -> None:
    process = PluginProcess(["/bin/sh", "-c", f"kill -{number} $$"], patient=False)
    with pytest.raises(EndedBeforeHandshake) as caught:
        process.start()
    expected = "SIGTERM" if number == signal.SIGTERM else f"signal {number}"
    assert str(caught.value).endswith(f"the plugin process exited ({expected})")


def test_an_impatient_host_reports_a_crash_at_once() -> None:
    process = PluginProcess(command("crashes.py"), handshake_timeout_s=3_600, patient=False)
    with pytest.raises(EndedBeforeHandshake) as caught:
        process.start()
    assert caught.value.exit_code == 1


def test_last_output_that_is_not_read_yet_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()

    def show(stream: str, line: str) -> None:
        assert stopping.wait(DEADLINE_S)

    process = PluginProcess(["/bin/sh", "-c", "echo first; echo last"], log=show, patient=False)
    stop = process.stop

    def watched() -> int | None:
        if threading.current_thread() is threading.main_thread():  # not when a stream ends
            stopping.set()
        return stop()

    monkeypatch.setattr(process, "stop", watched)
    with pytest.raises(EndedBeforeHandshake) as caught:
        process.start()
    assert caught.value.output == ("first", "last")


@pytest.mark.parametrize("descriptor", ["1", "2"])
def test_edge_8_a_healthy_plugin_that_closes_a_stream_gets_sigterm(descriptor: str) -> None:
    process = PluginProcess(command("bare_vm.py", "45", "mortal", f"close{descriptor}"))
    process.start()
    assert process.wait(DEADLINE_S) == -signal.SIGTERM
    process.stop()


def test_edge_8_a_plugin_that_closes_its_streams_to_end_keeps_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vmsdk.host.plugin.ENDING_S", DEADLINE_S)
    process = PluginProcess(["/bin/sh", "-c", "exec >&- 2>&-; /bin/sleep 0.2; exit 7"], patient=False)
    with pytest.raises(EndedBeforeHandshake):
        process.start()
    assert process.exit_code == 7


def test_edge_8_and_sigkill_if_it_ignores_that() -> None:
    process = PluginProcess(command("bare_vm.py", "45", "close1", "deaf"), stop_timeout_s=0.3)
    process.start()
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    process.stop()


def test_edge_11_a_plugin_that_ignores_sigterm_is_killed_after_the_timeout() -> None:
    process = PluginProcess(command("bare_vm.py", "45", "deaf"), stop_timeout_s=0.5)
    process.start()
    began = time.monotonic()
    assert process.stop() == -signal.SIGKILL
    assert time.monotonic() - began >= 0.5


def test_stopping_is_done_once_and_repeats_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    process = PluginProcess(command("bare_vm.py", "45", "deaf"), stop_timeout_s=0.5)
    process.start()
    codes: list[int | None] = []
    sent: list[int] = []
    send_signal = process.send_signal

    def watched(number: int) -> bool:
        sent.append(number)
        return send_signal(number)

    monkeypatch.setattr(process, "send_signal", watched)
    threads = [threading.Thread(target=lambda: codes.append(process.stop())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert codes == [-signal.SIGKILL] * 3
    assert process.stop() == -signal.SIGKILL
    assert sent == [signal.SIGTERM, signal.SIGKILL]


def test_stopping_what_was_never_started_is_harmless() -> None:
    assert PluginProcess(command("silent.py")).stop() is None


def not_executable(directory: Path) -> Path:
    path = directory / "plugin"
    path.write_text("#!/bin/sh\n")
    path.chmod(stat.S_IRUSR)
    return path


def bad_interpreter(directory: Path) -> Path:
    path = directory / "plugin"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o700)
    return path


def no_program(directory: Path) -> Path:
    path = directory / "plugin"
    path.write_bytes(b"\x00\x01\x02")
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda directory: directory / "missing", "No such file or directory"),
        (lambda directory: directory, "Permission denied"),
        (not_executable, "Permission denied"),
        (bad_interpreter, "No such file or directory"),
        (no_program, "Exec format error"),
    ],
)
def test_a_plugin_that_the_system_can_not_start_fails_with_its_reason(
    tmp_path: Path, make: object, reason: str
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    if os.geteuid() == 0 and make is not_executable:
        reason = "Permission denied"  # also root needs one x bit
    with pytest.raises(StartFailed) as caught:
        PluginProcess(path).start()
    assert str(caught.value) == f"failed to start process: {path}: {reason}"


def test_a_command_without_a_slash_is_looked_up_by_the_host() -> None:
    assert PluginProcess(["sh", "-c", ":"]).argv[0].endswith("/sh")


def test_both_streams_are_shown_by_lines() -> None:
    lines: list[tuple[str, str]] = []
    process = PluginProcess(
        command("chatty.py"),
        log=lambda stream, line: lines.append((stream, line)),
        patient=False,
    )
    with pytest.raises(HandshakeFailed):
        process.start()
    assert process.exit_code == 3
    assert [line for stream, line in lines if stream == "stdout"] == ["grüße", "zwei", "\ufffd\ufffd broken"]
    errors = [line for stream, line in lines if stream == "stderr"]
    assert errors[-1] == "unfinished"
    assert "".join(errors[:-1]) == "x" * 200_000


def test_a_log_that_fails_does_not_block_the_plugin() -> None:
    def broken(stream: str, line: str) -> None:
        raise ValueError("no room")

    process = PluginProcess(command("chatty.py"), log=broken, patient=False)
    with pytest.raises(HandshakeFailed):
        process.start()
    assert process.exit_code == 3


def test_a_grandchild_that_holds_the_streams_does_not_hold_the_host() -> None:
    lines = Lines()
    process = PluginProcess(command("parent.py"), log=lines, patient=False)
    with pytest.raises(HandshakeFailed):
        process.start()
    assert process.exit_code == 0
    os.kill(int(lines.next()[1]), signal.SIGKILL)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("plugin-")]


def test_a_plugin_outlives_the_thread_that_started_it() -> None:
    process = PluginProcess(command("bare_vm.py", "45", "mortal"))  # SIGTERM would end it
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join(DEADLINE_S)
    # The kernel sends a parent's last signal before the parent is gone.
    wait_until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists())
    assert process.address is not None
    client = VMClient(process.address)
    assert client.Version(Empty(), timeout=DEADLINE_S).version == "bare/1.0.0"
    client.close()
    assert process.stop() == -signal.SIGTERM


def test_a_plugin_gets_sigterm_when_the_host_is_killed() -> None:
    host = subprocess.Popen(
        [sys.executable, str(PLUGINS / "killed_host.py"), *command("bare_vm.py", "45", "mortal")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        host.kill()
    await_end_of(pid)


def test_what_is_to_be_done_at_the_end_is_done_also_when_it_is_past() -> None:
    codes: SimpleQueue[int] = SimpleQueue()
    process = PluginProcess(command("bare_vm.py", "45", "mortal"))
    process.at_exit(codes.put)
    process.start()
    process.kill()
    assert codes.get(timeout=DEADLINE_S) == -signal.SIGKILL
    process.at_exit(codes.put)
    assert codes.get(timeout=DEADLINE_S) == -signal.SIGKILL
    assert not process.send_signal(signal.SIGTERM)
