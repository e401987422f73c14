"""Which part of a chain's config is vmsdk's, and which is the VM's."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.runtime.ending import harmless
from vmsdk.runtime.settings import Settings


@pytest.fixture(autouse=True)
def root_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"fee = 1",
        b'{"fee": 1.0}',
        b'["vmsdk"]',
        b'"vmsdk"',
        b'{"about": "vmsdk" }',
        b'\xff"vmsdk"',
    ],
    ids=lambda config: repr(config[:20]),
)
def test_a_config_without_settings_is_left_as_it_is(
    config: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Settings("INFO").take(config, tmp_path) == config
    assert not caplog.records


@pytest.mark.parametrize(
    "config",
    [
        b'{"vmsdk": ',
        b'\n{"vmsdk": {"log-level": "debug",}}',
        b'{"vmsdk":' + b"[" * 100_000,
        b'{"n": ' + b"9" * 5_000 + b', "vmsdk": {}}',
    ],
    ids=lambda config: repr(config[:20]),
)
def test_settings_in_broken_json_are_missed_aloud(
    config: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Settings("INFO").take(config, tmp_path) == config
    [record] = caplog.records
    assert "'vmsdk' of the chain's config is ignored, since the config can't be read" in record.getMessage()


def test_a_pipe_in_place_of_the_file_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "vmsdk.json"
    os.mkfifo(file)
    settings = Settings("INFO")
    settings.take(b"", tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file} is ignored, since it is not a regular file"
    ]
    file.unlink()
    file.write_text('{"log-level": "error"}')
    settings.refresh()
    assert logging.getLogger().level == logging.ERROR


def test_the_settings_are_taken_out_of_the_config(tmp_path: Path) -> None:
    config = '{"fee": 12345678901234567890, "vmsdk": {"log-level": "error"}, "name": "grüße \\ud800"}'
    left = Settings("INFO").take(config.encode(), tmp_path)
    assert left == b'{"fee": 12345678901234567890, "name": "gr\\u00fc\\u00dfe \\ud800"}'
    assert logging.getLogger().level == logging.ERROR


def test_the_file_replaces_members_of_the_config_until_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "vmsdk.json"
    file.write_text('{"log-level": "debug"}')
    settings = Settings("INFO")
    settings.take(b'{"vmsdk": {"log-level": "error"}}', tmp_path)
    assert logging.getLogger().level == logging.DEBUG
    file.unlink()
    settings.refresh()
    assert logging.getLogger().level == logging.ERROR


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_file_that_is_not_an_object_is_reported_once(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vmsdk.json").write_text(text)
    settings = Settings("INFO")
    settings.take(b"", tmp_path)
    settings.refresh()
    assert len(caplog.records) == 1
    assert str(tmp_path / "vmsdk.json") in caplog.text


def test_settings_within_the_configs_member_are_reported_in_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vmsdk.json").write_text('{"vmsdk": {"log-level": "debug"}}')
    Settings("INFO").take(b"", tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'vmsdk.json'}: write the settings in it without 'vmsdk' around them"
    ]


def refuse(endpoint: str | None, ratio: float) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    "endpoint", ["http://[::1:4317", "http://", "http://x:99999", "ftp://x", "http://x\ny", "http://x\n", 7]
)
def test_what_is_not_an_address_is_not_used(
    endpoint: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings("INFO")
    settings.trace_to = refuse
    settings.take(json.dumps({"vmsdk": {"trace-endpoint": endpoint}}).encode(), tmp_path)
    [record] = caplog.records
    assert f"{endpoint!r} is not a collector's address" in record.getMessage()


def test_a_chain_starts_without_traces_whatever_is_wrong_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings("INFO")
    settings.trace_to = refuse
    settings.take(b'{"vmsdk": {"trace-endpoint": "http://127.0.0.1:4317"}}', tmp_path)
    assert "tracing stays off: can't start new thread" in caplog.text


@pytest.mark.parametrize("level", ["debug", "warn", "error", "off"])
def test_each_change_is_confirmed_at_any_level(
    level: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"vmsdk": {"log-level": level, "trace-ratio": 0.5, "no-such": 1}}
    Settings("INFO").take(json.dumps(config).encode(), tmp_path)
    assert f"log-level is now {level}" in caplog.text
    assert "trace-ratio is now 0.5" in caplog.text
    assert "there is no setting 'no-such'" in caplog.text


def test_a_regular_task_that_fails_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    @harmless
    def task() -> None:
        calls.append(1)
        raise ValueError("broken")

    task()
    task()
    assert len(calls) == 2
    assert len(caplog.records) == 1
