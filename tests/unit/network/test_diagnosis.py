"""Why something failed, read from lines as nodes write them (AvalancheGo 1.13.5 and 1.14.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmsdk.network.diagnosis import SHOWN_LINES, LogRecord, chain_failure, node_death, registration_failure
from vmsdk.network.errors import FileLimitTooLow, NodeDied, PortTaken

LOG = Path("main.log")
VM_ID = "tGas3T58KzdjcJ2iKSyiYsWiqYctRXaPTqBCA11BqEkNg8kPc"
CHAIN_ID = "J1Y5fkviftF9gxUWAyCvCimATyFHQgQUFrFDtj9mW9uKSPcdi"
INITIALIZING = "[11-24|20:27:38.761] INFO node/node.go:1166 initializing VMs"
NOT_REGISTERED = (
    "[11-24|20:27:36.894] ERROR node/node.go:1238 failed to register VM "
    f'{{"vmID": "{VM_ID}", "error": "handshake failed: vm process not found"}}'
)
NOT_CREATED = (
    "[11-24|20:27:36.894] ERROR chains/manager.go:403 error creating chain "
    f'{{"subnetID": "s", "chainID": "{CHAIN_ID}", "chainAlias": "ts", "vmID": "{VM_ID}", "error": "bad genesis"}}'
)
COLLECTOR = "[11-24|20:27:31.894] INFO subprocess/runtime.go:111 stdout collector shutdown"
SHUT_DOWN = (
    f"[11-24|20:27:36.894] FATAL <{CHAIN_ID} Chain> handler/handler.go:335 shutting down chain "
    '{"reason": "received an unexpected error", "error": "disk is full"}'
)


def test_a_line_of_the_node_is_taken_apart() -> None:
    assert LogRecord.parse(INITIALIZING) == LogRecord("INFO", "initializing VMs")
    record = LogRecord.parse(NOT_REGISTERED)
    assert record == LogRecord(
        "ERROR", "failed to register VM", {"vmID": VM_ID, "error": "handshake failed: vm process not found"}
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        "INFO hello",
        "[x] hello",
        "[11-24|21:01:13.261] FATAL stuckvm: a VM's own line in the manner of nodes",
    ],
)
def test_a_line_of_a_plugin_is_no_line_of_the_node(line: str) -> None:
    assert LogRecord.parse(line) is None


def test_a_line_with_broken_fields_keeps_its_level() -> None:
    record = LogRecord.parse("[11-24|20:27:38.761] FATAL app/app.go:76 failed {not JSON}")
    assert record is not None
    assert (record.level, record.fields) == ("FATAL", {})


def test_a_taken_port_is_told_with_its_address() -> None:
    fatal = (
        "[11-24|20:27:41.296] FATAL app/app.go:76 failed to initialize node "
        '{"error": "couldn\'t initialize API server: listen tcp 127.0.0.1:9650: bind: address already in use"}'
    )
    error = node_death("node1", 1, [INITIALIZING, fatal], [], LOG)
    assert isinstance(error, PortTaken)
    assert (error.node, error.address) == ("node1", "127.0.0.1:9650")


def test_a_file_limit_that_is_too_low_is_told_with_the_numbers() -> None:
    output = ["couldn't start node: error fd-limit: (32768) greater than max: (20000)"]
    error = node_death("node1", 1, [], output, LOG)
    assert isinstance(error, FileLimitTooLow)
    assert (error.limit, error.needed) == (20000, 32768)


def test_another_death_is_told_by_the_fatal_lines() -> None:
    fatal = '[11-24|20:27:38.761] FATAL app/app.go:76 failed to initialize node {"error": "invalid vmID: \\"README\\""}'
    error = node_death("node2", 1, [INITIALIZING, fatal], ["couldn't start node"], LOG)
    assert isinstance(error, NodeDied)
    assert error.lines == (fatal,)
    assert str(error).startswith("node2 ended with exit code 1; from main.log:\n  [11-24")


def test_a_death_without_fatal_lines_is_told_by_the_last_ones() -> None:
    error = node_death("node1", None, ["a"], ["b"], LOG)
    assert isinstance(error, NodeDied)
    assert (error.lines, str(error).splitlines()[0]) == (("a", "b"), "node1 ended; from main.log:")


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "was ended by SIGKILL"), (-250, "by signal 250"), (3, "exit code 3")]
)
def test_a_death_names_the_signal_or_the_code(code: int, words: str) -> None:
    assert words in str(node_death("node1", code, [], [], LOG))


def test_a_plugin_that_is_not_registered_is_told_with_what_it_printed() -> None:
    printed = [COLLECTOR, "", "Traceback (most recent call last):", "ImportError: no numpy", COLLECTOR]
    error = registration_failure("node1", [INITIALIZING, NOT_REGISTERED], printed, Path("/plugins"), LOG)
    assert error is not None
    assert error.plugin == Path("/plugins") / VM_ID
    assert error.reason.startswith(
        "handshake failed: vm process not found (it ended, or did not answer within"
    )
    assert error.lines == ("Traceback (most recent call last):", "ImportError: no numpy")


def test_no_failed_registration_is_no_failure() -> None:
    assert (
        registration_failure("node1", [INITIALIZING], ["a word of a plugin"], Path("/plugins"), LOG) is None
    )


def test_a_chain_that_cannot_be_made_is_told_with_the_end_of_its_log() -> None:
    lines = [f"line {i}" for i in range(100)]
    error = chain_failure("node1", "ts", CHAIN_ID, [NOT_CREATED], lines, LOG)
    assert error is not None
    assert error.reason == "bad genesis"
    assert error.lines == tuple(lines[-SHOWN_LINES:])


def test_a_chain_that_stops_is_told_by_its_fatal_line() -> None:
    error = chain_failure("node1", "ts", CHAIN_ID, [], ["before", SHUT_DOWN, "after"], LOG)
    assert error is not None
    assert (error.reason, error.lines) == ("disk is full", ("before", SHUT_DOWN))


def test_a_chain_that_fails_to_start_is_told_by_the_nodes_error() -> None:
    failed = (
        "[11-24|21:01:13.262] ERROR <ts Chain> handler/handler.go:259 chain failed to start "
        '{"error": "failed to notify VM that bootstrapping has started: the disk is full"}'
    )
    error = chain_failure("node1", "ts", CHAIN_ID, [], ["before", failed, "after"], LOG)
    assert error is not None
    assert error.reason.endswith("the disk is full")
    assert error.lines == ("before", failed)


def test_a_chain_that_the_node_stopped_without_a_word_is_told() -> None:
    stopped = '[11-24|21:01:13.318] INFO <ts Chain> router/chain_router.go:739 chain shutdown {"shutdownDuration": "56ms"}'
    error = chain_failure("node1", "ts", CHAIN_ID, [], [stopped], LOG)
    assert error is not None
    assert error.reason == "the node stopped it"


def test_a_plugin_that_ended_is_told_with_what_it_printed() -> None:
    printed = ["Traceback (most recent call last):", "KeyError: 'x'"]
    error = chain_failure("node1", "ts", CHAIN_ID, [], [INITIALIZING, *printed, COLLECTOR], LOG)
    assert error is not None
    assert error.reason == "its plugin's process ended"
    assert error.lines == tuple(printed)


def test_a_chain_whose_handlers_cannot_be_made_is_told() -> None:
    line = (
        "[11-24|21:01:13.262] ERROR server/server.go:158 failed to create path route handlers "
        '{"chainName": "ts", "error": "no module named flask"}'
    )
    error = chain_failure("node1", "ts", CHAIN_ID, [line], [], LOG)
    assert error is not None
    assert error.reason == "its HTTP handlers could not be made: no module named flask"


def test_the_failure_of_another_chain_is_not_this_ones() -> None:
    assert chain_failure("node1", "other", "another ID", [NOT_CREATED], ["fine"], LOG) is None
