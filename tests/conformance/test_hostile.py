"""Whatever a plugin does, the run over it ends, with a verdict on the plugin."""

from __future__ import annotations

import sys

import pytest
from google.protobuf.empty_pb2 import Empty

from tests.conformance.hostile import command
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Check, Severity
from vmsdk.testing.run import Result, Verdict, run_checks
from vmsdk.testing.wire import call


def look(bench: Bench) -> None:
    with bench.connected() as host:
        call(host, "Version", Empty(), timeout_s=600)
        bench.alive(host)


CHECK = Check(
    "life.ask-version", "It has a version.", Severity.STOPS, "vm.go", (DEFAULT_PROTOCOL,), False, False, look
)


def result_of(manner: str, timeout_s: float = 60) -> Result:
    bench = Bench(command(DEFAULT_PROTOCOL, manner))
    (result,) = run_checks(bench, [CHECK], timeout_s=timeout_s, memory_limit_bytes=256 * 1024 * 1024)
    return result


def message_of(result: Result) -> str:
    assert result.verdict is Verdict.VIOLATED, result
    assert result.violation is not None
    return str(result.violation)


def test_a_plugin_that_hangs_is_killed() -> None:
    assert "not finished after 2 s" in message_of(result_of("Hangs", timeout_s=2))


def test_a_plugin_that_never_announces_itself_is_killed() -> None:
    assert "not finished after 1 s" in message_of(result_of("Silent", timeout_s=1))


def test_a_plugin_that_exits_is_at_fault() -> None:
    result = result_of("Exits")
    assert message_of(result) == "the plugin's process ended during Version"
    assert result.violation is not None
    assert "exit status 7" in result.violation.got


def test_a_plugin_that_floods_its_log_does_not_disturb_the_check() -> None:
    assert result_of("Floods").verdict is Verdict.PASSED


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the memory of other processes")
def test_a_plugin_that_eats_memory_is_killed() -> None:
    assert "more than 256 MiB of memory" in message_of(result_of("Eats"))


def test_a_run_that_is_interrupted_kills_its_plugins() -> None:
    benches: list[Bench] = []

    def keep(bench: Bench) -> None:
        benches.append(bench)
        look(bench)

    def interrupt(check: Check) -> None:
        if check is quick:
            raise KeyboardInterrupt

    quick = Check("life.second", "-", Severity.STOPS, "vm.go", (), False, False, lambda bench: None)
    slow = Check("life.first", "-", Severity.STOPS, "vm.go", (), False, False, keep)
    bench = Bench(command(DEFAULT_PROTOCOL, "Hangs"))
    with pytest.raises(KeyboardInterrupt):
        run_checks(bench, [slow, quick], jobs=2, on_start=interrupt)
    assert [each.running for each in benches] == [[]]
