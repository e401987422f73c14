"""What was proved against which node's release, as a file: results.json, kept with the sources.

`VMSDK_INTEROP_RESULTS=PATH pytest tests/interop` writes it; the same tests with the same outcome
give the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .nodes import NODES

RESULTS_VARIABLE = "VMSDK_INTEROP_RESULTS"
NODE_PROPERTY = "interop node"


class ResultsRecorder:
    """A pytest plugin that notes for each node which areas passed: an area is a test file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._areas: dict[str, dict[str, bool]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for each phase of each test, on the process that the workers report to."""
        node = dict(report.user_properties).get(NODE_PROPERTY)
        if node is None or report.skipped:
            return
        area = Path(report.nodeid.partition("::")[0]).stem.removeprefix("test_")
        areas = self._areas.setdefault(str(node), {})
        areas[area] = areas.get(area, True) and report.passed

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps(self.found(), indent=2) + "\n", encoding="utf-8")

    def found(self) -> list[dict[str, Any]]:
        """One entry for each node that was tested, oldest protocol first."""
        return [
            {
                "protocol": node.protocol,
                "application": node.application,
                "version": node.version.removeprefix("v"),
                "passed": sorted(area for area, passed in self._areas[name].items() if passed),
                "failed": sorted(area for area, passed in self._areas[name].items() if not passed),
            }
            for name, node in NODES.items()
            if name in self._areas
        ]
