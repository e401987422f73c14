"""Faults are logged with one traceback each, and counted."""

from __future__ import annotations

import logging

import pytest

from vmsdk.rpc.errors import FaultLog


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def fault(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@pytest.fixture
def faults() -> FaultLog:
    return FaultLog(logging.getLogger("faults"))


def test_a_fault_is_logged_with_its_traceback_and_consequence(
    faults: FaultLog, caplog: pytest.LogCaptureFixture
) -> None:
    found = faults.record("app_gossip", fault("bad byte"), "the chain goes on")
    [record] = caplog.records
    assert record.getMessage() == f"app_gossip raised ValueError: bad byte; the chain goes on (fault {found})"
    assert record.exc_info is not None


def test_a_flood_of_one_fault_is_one_traceback_and_few_lines(
    faults: FaultLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_000):
        faults.record("app_gossip", fault(f"bad byte {number}"), "the chain goes on")
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    assert len(caplog.records) == 10
    assert faults.counts() == {"app_gossip": 1_000}


def test_what_a_client_puts_into_an_exception_is_not_logged_at_any_length(
    faults: FaultLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        faults.record("app_gossip", fault("x" * 1_000_000), "the chain goes on")
    for record in caplog.records:
        assert len(record.getMessage()) < 1_200
        assert "...; the chain goes on" in record.getMessage()


def test_one_place_in_the_code_is_one_id_and_another_place_another(faults: FaultLog) -> None:
    first = faults.record("app_gossip", fault("x"), "-")
    assert faults.record("app_gossip", fault("y"), "-") == first
    assert faults.record("app_request", fault("x"), "-") != first
    assert len(first) == 8


def test_different_faults_each_have_their_traceback(
    faults: FaultLog, caplog: pytest.LogCaptureFixture
) -> None:
    faults.record("app_gossip", fault("x"), "-")
    faults.record("app_request", fault("x"), "-")
    faults.record("app_gossip", KeyError("x"), "-")
    assert sum(record.exc_info is not None for record in caplog.records) == 3


def test_an_error_whose_text_fails_is_logged_all_the_same(
    faults: FaultLog, caplog: pytest.LogCaptureFixture
) -> None:
    faults.record("app_gossip", Unprintable(), "the chain goes on")
    assert "Unprintable" in caplog.records[0].getMessage()
