"""The blocks of docs/logs.md, docs/metrics.md and docs/tracing.md."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_readme import ROOT, blocks
from vmsdk import Context
from vmsdk.metrics import Collector, Metrics
from vmsdk.runtime.settings import Settings


def of(language: str, name: str) -> list[str]:
    return blocks(language, (ROOT / "docs" / name).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def root_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.mark.parametrize("name", ["logs.md", "tracing.md"])
def test_the_settings_exist(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.runtime.logs.set_format", lambda name: True)
    [config] = of("json", name)
    assert Settings("INFO").take(config.encode(), tmp_path) == b"{}"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_authors_metrics_are_registered() -> None:
    class Page(Metrics):
        registered: Any = None

        def register(self, collector: Collector) -> None:
            self.registered = collector

    page, names = Page(), dict[str, Any]()
    exec(of("python", "metrics.md")[0], names)

    kind = names["MyVM"]
    # The rest of the VM is not shown.
    vm = type("Whole", (kind,), dict.fromkeys(kind.__abstractmethods__, lambda *_: None))()
    vm.initialize(Context(metrics=page), b"", b"", b"")
    vm.transfers.inc()
    assert [family.name for family in page.registered.collect()] == ["transfers"]


def test_a_blocks_trace_has_the_first_half_of_its_id() -> None:
    names: dict[str, Any] = {}
    exec(of("python", "tracing.md")[0], names)
    assert len(names["trace_id"]) == 32
