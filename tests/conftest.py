"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.interop.results import RESULTS_VARIABLE, ResultsRecorder

# A shell starts what it runs in the background with Ctrl-C ignored, and every process inherits that: then the
# programs under test would not hear the Ctrl-C that tests send them.
if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    # Here and not beside the interop tests: with several processes the workers collect the tests, and tell
    # their outcome to the one that started them, which knows of no other conftest than this.
    path = os.environ.get(RESULTS_VARIABLE)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ResultsRecorder(Path(path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.version_info < (3, 11):
        for item in items:
            if item.get_closest_marker("warp"):
                item.add_marker(pytest.mark.skip(reason="the extra warp needs Python 3.11"))
