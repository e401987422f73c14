"""The life of a plugin process, from the handshake to its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.errors import ChainFatal, ProtocolMismatch
from vmsdk.host.node import Host
from vmsdk.host.plugin import ENGINE_ADDRESS_KEY, PluginProcess
from vmsdk.protocol import RANGE

from .plugin import PATIENCE_S, Lines, lively, node_to_kill


def run_by_hand(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        lively(), env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False
    )


@pytest.fixture
def lines() -> Lines:
    return Lines()


def plugin(lines: Lines, command: list[str] | None = None, **options: Any) -> PluginProcess:
    return PluginProcess(command or lively(), log=lines, **options)


# Starting -----------------------------------------------------------------------------------------


def test_edge_1_without_an_engine_address_it_says_what_to_do_and_exits_with_2() -> None:
    result = run_by_hand()
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert f'required env var missing: "{ENGINE_ADDRESS_KEY}"' in result.stderr
    assert "vmsdk dev" in result.stderr
    assert "vmsdk install" in result.stderr


def test_an_engine_that_is_not_there_is_one_sentence_and_status_2() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        result = run_by_hand(**{ENGINE_ADDRESS_KEY: address})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert address in result.stderr
    assert "vmsdk dev" in result.stderr


@pytest.mark.parametrize("address", ["rubbish", "127.0.0.1:99999", "127.0.0.1:", ":1"])
def test_an_engine_address_that_is_none_is_one_sentence_and_status_2(address: str) -> None:
    result = run_by_hand(**{ENGINE_ADDRESS_KEY: address})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert address in result.stderr


def test_edge_2_it_starts_with_nothing_but_the_engine_address_in_its_environment(lines: Lines) -> None:
    with plugin(lines, environment={}, stop_timeout_s=0.1) as process:
        assert process.pid is not None
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert [variable.partition(b"=")[0].decode() for variable in environment] == [ENGINE_ADDRESS_KEY]


def test_edge_3_its_address_takes_connections_when_the_handshake_has_succeeded(lines: Lines) -> None:
    with plugin(lines, stop_timeout_s=0.1) as process:
        assert process.address is not None
        scheme, place = process.address.split(":")
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(place)
        else:
            socket.create_connection((scheme, int(place)), timeout=PATIENCE_S).close()
            assert scheme == "127.0.0.1"


def test_edge_4_a_refused_handshake_names_both_versions_and_the_cure(lines: Lines) -> None:
    process = plugin(lines, lively(protocol=45), protocol=43)
    with pytest.raises(ProtocolMismatch):
        process.start()
    assert process.wait(PATIENCE_S) == 2
    line = lines.wait_for("protocol")
    assert "the node speaks protocol 43, this VM was started with 45" in line
    assert "--protocol 43" in line
    assert "Traceback" not in lines.text


def test_a_protocol_version_that_is_not_supported_is_named(lines: Lines) -> None:
    result = subprocess.run(
        lively(protocol=34),
        env={ENGINE_ADDRESS_KEY: "127.0.0.1:1"},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 2
    assert "protocol version 34 is not supported" in result.stderr
    assert RANGE in result.stderr


def test_signals_do_not_change_the_status_of_a_plugin_that_gives_up() -> None:
    # A node sends SIGTERM to a plugin that it has refused, which is when the plugin ends by itself.
    command, environment = lively(protocol=34), {ENGINE_ADDRESS_KEY: "127.0.0.1:1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"vmsdk: ")
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 2


def terminate(host: Host, lines: Lines) -> None:
    """Send SIGTERM until it counts, which is when the Shutdown under way has reached the plugin."""
    while True:
        seen = len(lines.all)
        if "received shutdown signal" in lines.text:
            return
        host.process.send_signal(signal.SIGTERM)  # It may have ended already; its line comes then.
        lines.wait_for_more_than(seen)


# Living -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_edge_9_signals_before_shutdown_are_ignored(lines: Lines, number: int) -> None:
    with Host(lively(), log=lines) as host:
        assert host.process.send_signal(number)
        lines.wait_for("runtime engine: ignoring signal: " + {2: "interrupt", 15: "terminated"}[number])
        assert host.chain.version() == "0.0.1-plain"


def test_edge_10_sigterm_after_shutdown_ends_it_with_0_and_sigint_does_not(
    lines: Lines, tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    with plugin(lines, lively(tell_end=str(ended))) as process:
        channel = grpc.insecure_channel(process.address or "")
        shutdown: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/vm.VM/Shutdown")
        shutdown(b"", timeout=PATIENCE_S, wait_for_ready=True)
        process.send_signal(signal.SIGINT)
        lines.wait_for("ignoring signal: interrupt")
        assert process.alive
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        channel.close()
    lines.wait_for("runtime engine: received shutdown signal: terminated")
    lines.wait_for("vm server: graceful termination success")
    # serve() returned, and what the author wrote after it was run.
    assert ended.read_text(encoding="utf-8") == "returned"


def test_calls_in_flight_end_before_the_process_does(lines: Lines, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    host = Host(lively(), log=lines)
    with host:
        call = host.client.ParseBlock.start(pb.ParseBlockRequest(bytes=b"wait for " + str(gate).encode()))
        while not gate.with_suffix(".begun").exists():
            assert not call.done()
        # The Shutdown waits for the chain's lock, as it should, but counts from its very beginning.
        shutdown = host.client.Shutdown.start(Empty())
        terminate(host, lines)
        gate.touch()
        assert call.result(PATIENCE_S).height == 0
        shutdown.result(PATIENCE_S)
        assert host.process.wait(PATIENCE_S) == 0


def test_edge_13_the_registration_launch_is_a_clean_life(lines: Lines) -> None:
    host = Host(lively(), log=lines)
    assert host.register() == "0.0.1-plain"
    assert host.process.exit_code == 0
    assert "Traceback" not in lines.text


def test_edge_26_a_vm_that_raises_in_initialize_leaves_its_error_and_one_traceback(lines: Lines) -> None:
    host = Host(lively(**{"raise": "the genesis is for another chain"}), log=lines)
    host.connect()
    with pytest.raises(ChainFatal, match="the genesis is for another chain"):
        host.chain.initialize()
    assert host.process.alive
    assert host.process.send_signal(signal.SIGTERM)  # without a Shutdown
    assert host.process.wait(PATIENCE_S) == 0
    host.stop()
    assert lines.text.count("Traceback (most recent call last)") == 1


def test_edge_8_a_vm_that_closes_its_stdout_is_stopped(lines: Lines) -> None:
    host = Host(lively(), log=lines, stop_timeout_s=0.5).start()
    call = host.client.ParseBlock.start(pb.ParseBlockRequest(bytes=b"close stdout"))
    assert host.process.wait(PATIENCE_S) == -signal.SIGKILL
    assert isinstance(call.exception(PATIENCE_S), grpc.RpcError)
    host.kill()


@pytest.mark.slow
def test_edge_14_pings_on_an_idle_connection_are_not_abuse(lines: Lines) -> None:
    # A node pings every 30 s; as fast as the server allows, so that the test is short, for four
    # pings: with gRPC's own defaults the third or fourth ends the connection.
    options = [
        ("grpc.keepalive_time_ms", 5_100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with plugin(lines, stop_timeout_s=0.1) as process:
        channel = grpc.insecure_channel(process.address or "", options=options)
        version: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/vm.VM/Version")
        version(b"", timeout=PATIENCE_S, wait_for_ready=True)
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        lines._changed.acquire()
        lines._changed.wait(4 * 5.2)
        lines._changed.release()
        version(b"", timeout=PATIENCE_S)
        channel.close()
    assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in states
    assert grpc.ChannelConnectivity.IDLE not in states


def test_edge_17_after_a_kill_the_wait_is_unavailable(lines: Lines) -> None:
    host = Host(lively(), log=lines).start()
    wait = host.client.WaitForEvent.start(Empty())
    host.kill()
    with pytest.raises(grpc.RpcError) as caught:
        wait.result(PATIENCE_S)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


# Ending -------------------------------------------------------------------------------------------


def test_edge_18_a_vm_that_writes_after_the_nodes_servers_stopped_still_exits(lines: Lines) -> None:
    host = Host(lively(write_at_shutdown=True), log=lines)
    host.connect()
    host.chain.initialize()
    host.services.stop_servers()
    shutdown = host.client.Shutdown.start(Empty())
    terminate(host, lines)
    assert host.process.wait(PATIENCE_S) == 0
    shutdown.cancel()
    host.kill()


def test_edge_11_a_shutdown_that_hangs_does_not_outlive_sigterm(lines: Lines) -> None:
    host = Host(lively(hang_at_shutdown=True), log=lines)
    host.connect()
    host.chain.initialize()
    shutdown = host.client.Shutdown.start(Empty())
    terminate(host, lines)
    assert host.process.wait(PATIENCE_S) is not None
    shutdown.cancel()
    host.kill()


@pytest.mark.parametrize("orders", [{}, {"hang_at_shutdown": True}, {"write_at_shutdown": True}])
def test_edge_12_a_node_that_is_killed_leaves_no_orphan(tmp_path: Path, orders: dict[str, Any]) -> None:
    told = tmp_path / "told"
    command = lively(tell_shutdown=str(told), **orders)
    with node_to_kill(command):
        pass
    # Its own shutdown was called first.
    assert told.read_text(encoding="utf-8") == "shut down"


# Speaking -----------------------------------------------------------------------------------------


def test_everything_that_python_says_reaches_the_log_in_whole_lines_of_utf_8(lines: Lines) -> None:
    with Host(lively(say=True), log=lines):
        pass
    said = [line for _, line in lines.all]
    assert "print: Füße ☃" in said
    assert ("stderr", "to stderr") in lines.all
    assert any(line.endswith(r"WARN library: two\nlines") for line in said)
    assert any("UserWarning: a warning" in line for line in said)
    assert "lone \\udcff surrogate" in said
    assert "no line end" in said
    whole = re.compile(r"thread \d x{200}")
    from_threads = [line for line in said if line.startswith("thread")]
    assert len(from_threads) == 8 * 50
    assert all(whole.fullmatch(line) for line in from_threads)
