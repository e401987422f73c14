"""Which part of a chain's config is vmsdk's, and which is the VM's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

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
        b'{"vmsdk": ',
        b'\xff"vmsdk"',
        b'{"vmsdk":' + b"[" * 100_000,
        b'{"n": ' + b"9" * 5_000 + b', "vmsdk": {}}',
    ],
    ids=lambda config: repr(config[:20]),
)
def test_a_config_without_settings_is_left_as_it_is(
    config: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Settings("INFO").take(config, tmp_path) == config
    assert not caplog.records


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
