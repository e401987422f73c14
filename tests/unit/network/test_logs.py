"""The logs of nodes: followed as they grow and are replaced, and searched for why something failed.

The lines are as nodes write them (AvalancheGo 1.13.5 and 1.14.2).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from vmsdk.network.errors import PortTaken
from vmsdk.network.logs import (
    SHOWN_LINES,
    LogFile,
    LogRecord,
    chain_failure,
    node_exit,
    node_id_in,
    registration_failure,
)

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
    f'{{"subnetID": "s", "chainID": "{CHAIN_ID}", "chainAlias": "ts", "vmID": "{VM_ID}", "error": "bad genesis"}}'  # noqa: E501
)
HANDSHAKE = '[11-24|20:27:31.402] INFO subprocess/runtime.go:143 plugin handshake succeeded {"addr": "x"}'
COLLECTOR = "[11-24|20:27:31.894] INFO subprocess/runtime.go:111 stdout collector shutdown"
SHUT_DOWN = (
    f"[11-24|20:27:36.894] FATAL <{CHAIN_ID} Chain> handler/handler.go:335 shutting down chain "
    '{"reason": "received an unexpected error", "error": "disk is full"}'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main.log"


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_each_line_is_read_once(path: Path) -> None:
    log = LogFile(path)
    add(path, "one\ntwo\n")
    assert log.new_lines() == ["one", "two"]
    assert log.new_lines() == []
    add(path, "three\n")
    assert log.new_lines() == ["three"]


def test_a_line_is_read_when_it_is_whole(path: Path) -> None:
    log = LogFile(path)
    add(path, "ha")
    assert log.new_lines() == []
    add(path, "lf\nnext")
    assert log.new_lines() == ["half"]


def test_a_character_cut_in_the_middle_comes_out_whole(path: Path) -> None:
    log, encoded = LogFile(path), "é\n".encode()
    path.write_bytes(encoded[:1])
    assert log.new_lines() == []
    path.write_bytes(encoded)
    assert log.new_lines() == ["é"]


def test_bytes_that_are_not_utf_8_do_not_stop_it(path: Path) -> None:
    path.write_bytes(b"\xff\nnext\n")
    assert LogFile(path).new_lines() == ["\ufffd", "next"]


def test_no_file_yet_has_no_lines(path: Path) -> None:
    log = LogFile.at_end(path)
    assert log.new_lines() == []
    add(path, "first\n")
    assert log.new_lines() == ["first"]


def test_a_reader_at_the_end_reads_only_what_comes(path: Path) -> None:
    add(path, "old\n")
    log = LogFile.at_end(path)
    add(path, "new\n")
    assert log.new_lines() == ["new"]


def test_the_last_lines_and_what_follows_them(path: Path) -> None:
    add(path, "one\ntwo\nthree\n")
    log, lines = LogFile.last_lines(path, 2)
    assert lines == ["two", "three"]
    add(path, "four\n")
    assert log.new_lines() == ["four"]
    assert LogFile.last_lines(path, 0)[1] == []
    assert LogFile.last_lines(path, 9)[1] == ["one", "two", "three", "four"]


def test_a_replaced_file_is_read_from_its_start(path: Path) -> None:
    add(path, "a long first line\n")
    log = LogFile(path)
    log.new_lines()
    path.rename(path.with_suffix(".old"))
    add(path, "the first line of the new file, which is longer than the old file was\n")
    assert log.new_lines() == ["the first line of the new file, which is longer than the old file was"]


def test_a_file_that_became_shorter_is_read_from_its_start(path: Path) -> None:
    add(path, "a long first line\n")
    log = LogFile(path)
    log.new_lines()
    path.write_text("short\n")
    assert log.new_lines() == ["short"]


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
def test_a_line_of_a_plugin_is_not_a_line_of_the_node(line: str) -> None:
    assert LogRecord.parse(line) is None


def test_a_line_with_broken_fields_keeps_its_level() -> None:
    record = LogRecord.parse("[11-24|20:27:38.761] FATAL app/app.go:76 failed {not JSON}")
    assert record is not None
    assert (record.level, record.fields) == ("FATAL", {})


def test_a_taken_port_is_reported_with_its_address() -> None:
    fatal = (
        "[11-24|20:27:41.296] FATAL app/app.go:76 failed to initialize node "
        '{"error": "couldn\'t initialize API server: listen tcp 127.0.0.1:9650: bind: address already in use"}'  # noqa: E501
    )
    error = node_exit("node1", 1, [INITIALIZING, fatal], [], LOG)
    assert isinstance(error, PortTaken)
    assert str(error).startswith("node1 can't listen on 127.0.0.1:9650")


def test_a_file_limit_that_is_too_low_is_reported_with_the_numbers() -> None:
    output = ["couldn't start node: error fd-limit: (32768) greater than max: (20000)"]
    error = node_exit("node1", 1, [], output, LOG)
    assert "only 20000 files, and a node needs 32768" in str(error)


def test_another_exit_is_explained_by_the_fatal_lines() -> None:
    fatal = '[11-24|20:27:38.761] FATAL app/app.go:76 failed to initialize node {"error": "invalid vmID: \\"README\\""}'  # noqa: E501
    error = node_exit("node2", 1, [INITIALIZING, fatal], ["couldn't start node"], LOG)
    assert str(error) == f"node2 exited with code 1; from main.log:\n  {fatal}"


def test_an_exit_without_fatal_lines_is_explained_by_the_last_ones() -> None:
    error = node_exit("node1", None, ["a"], ["b"], LOG)
    assert str(error).splitlines() == ["node1 exited; from main.log:", "  a", "  b"]


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "was killed by SIGKILL"), (-250, "by signal 250"), (3, "exited with code 3")]
)
def test_a_death_names_the_signal_or_the_code(code: int, words: str) -> None:
    assert words in str(node_exit("node1", code, [], [], LOG))


def test_a_plugin_that_is_not_registered_is_reported_with_what_it_printed() -> None:
    printed = [COLLECTOR, "", "Traceback (most recent call last):", "ImportError: no numpy", COLLECTOR]
    error = registration_failure("node1", [INITIALIZING, NOT_REGISTERED], printed, Path("/plugins"), LOG)
    assert error is not None
    assert f"node1 could not start the plugin /plugins/{VM_ID}" in str(error)
    assert error.reason.startswith(
        "handshake failed: vm process not found (it exited, or did not respond within"
    )
    assert error.lines == ("Traceback (most recent call last):", "ImportError: no numpy")


def test_without_a_failed_registration_there_is_no_failure() -> None:
    assert (
        registration_failure("node1", [INITIALIZING], ["a word of a plugin"], Path("/plugins"), LOG) is None
    )


def test_a_chain_that_cannot_be_made_is_reported_with_the_end_of_its_log() -> None:
    lines = [f"line {i}" for i in range(100)]
    error = chain_failure("node1", "ts", CHAIN_ID, [NOT_CREATED], lines, LOG)
    assert error is not None
    assert error.reason == "bad genesis"
    assert error.lines == tuple(lines[-SHOWN_LINES:])


def test_a_chain_that_stops_is_explained_by_its_fatal_line() -> None:
    error = chain_failure("node1", "ts", CHAIN_ID, [], ["before", SHUT_DOWN, "after"], LOG)
    assert error is not None
    assert (error.reason, error.lines) == ("disk is full", ("before", SHUT_DOWN))


def test_a_chain_that_fails_to_start_is_explained_by_the_nodes_error() -> None:
    failed = (
        "[11-24|21:01:13.262] ERROR <ts Chain> handler/handler.go:259 chain failed to start "
        '{"error": "failed to notify VM that bootstrapping has started: the disk is full"}'
    )
    error = chain_failure("node1", "ts", CHAIN_ID, [], ["before", failed, "after"], LOG)
    assert error is not None
    assert error.reason.endswith("the disk is full")
    assert error.lines == ("before", failed)


def test_a_chain_that_the_node_stopped_without_a_reason_is_reported() -> None:
    stopped = '[11-24|21:01:13.318] INFO <ts Chain> router/chain_router.go:739 chain shutdown {"shutdownDuration": "56ms"}'  # noqa: E501
    error = chain_failure("node1", "ts", CHAIN_ID, [], [stopped], LOG)
    assert error is not None
    assert error.reason == "the node stopped it"


def test_a_plugin_that_exited_is_reported_with_what_it_printed() -> None:
    printed = ["Traceback (most recent call last):", "KeyError: 'x'"]
    error = chain_failure("node1", "ts", CHAIN_ID, [], [HANDSHAKE, *printed, COLLECTOR], LOG)
    assert error is not None
    assert error.reason == "its plugin's process exited"
    assert error.lines == tuple(printed)


def test_a_plugin_that_missed_the_handshake_is_reported_when_the_node_gives_up() -> None:
    printed = "runtime engine: ignoring signal: terminated"
    not_created = NOT_CREATED.replace("bad genesis", "handshake failed: vm process not found")
    assert chain_failure("node1", "ts", CHAIN_ID, [], [printed, COLLECTOR], LOG) is None
    error = chain_failure("node1", "ts", CHAIN_ID, [not_created], [printed, COLLECTOR], LOG)
    assert error is not None
    assert error.plugin_was_slow


def test_a_chain_whose_handlers_cannot_be_made_is_reported() -> None:
    line = (
        "[11-24|21:01:13.262] ERROR server/server.go:158 failed to create path route handlers "
        '{"chainName": "ts", "error": "no module named flask"}'
    )
    error = chain_failure("node1", "ts", CHAIN_ID, [line], [], LOG)
    assert error is not None
    assert error.reason == "its HTTP handlers could not be created: no module named flask"


def test_the_failure_of_another_chain_is_not_this_ones() -> None:
    assert chain_failure("node1", "other", "another ID", [NOT_CREATED], ["fine"], LOG) is None


def test_the_nodes_id_is_in_the_first_lines_of_its_log() -> None:
    line = (
        "[11-26|15:05:39.101] INFO node/node.go:142 initializing node "
        '{"version": "metalgo/1.13.5", "commit": "abc", "nodeID": "NodeID-Pb2BvcTvKgNnNeCUL9EWEhbj79m8xPPVk", "x": {}}'  # noqa: E501
    )
    assert node_id_in([INITIALIZING]) is None
    assert node_id_in([INITIALIZING, line]) == "NodeID-Pb2BvcTvKgNnNeCUL9EWEhbj79m8xPPVk"
