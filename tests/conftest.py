"""What all tests share."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
from pathlib import Path

import pytest
import websockets.sync.client
from httpx._config import DEFAULT_TIMEOUT_CONFIG, create_ssl_context
from httpx._transports import default as _transports
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import none

from tests.interop.results import RESULTS_VARIABLE, ResultsRecorder

# gRPC's C core writes what tests provoke, such as a GOAWAY, between pytest's dots.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# A shell ignores Ctrl-C in what it runs in the background, and child processes inherit that: the
# programs under test would ignore the SIGINT that tests send them.
if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine may take longer than the 5 and 10 s after which these clients give up.
for _name in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _name, 60.0)
_options = websockets.sync.client.connect.__kwdefaults__
assert _options is not None
_options["open_timeout"] = 60.0

# The same examples in each run, however busy the machine is.
settings.register_profile(
    "vmsdk", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vmsdk")

# No test speaks TLS, but each client of httpx reads the authorities' certificates, which takes
# 50 ms.
vars(_transports)["create_ssl_context"] = functools.cache(create_ssl_context)


def pytest_configure(config: pytest.Config) -> None:
    # Not in tests/interop/conftest.py: pytest-xdist's workers report to the main process, which
    # loads this file only.
    path = os.environ.get(RESULTS_VARIABLE)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ResultsRecorder(Path(path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.version_info < (3, 11):
        for item in items:
            if item.get_closest_marker("warp"):
                item.add_marker(pytest.mark.skip(reason="the extra warp needs Python 3.11"))


def pytest_collection_finish() -> None:
    # Hypothesis looks for what refers to its random numbers when the first of its tests runs, and
    # does not see what the collector has been spared.
    given(none())(settings(max_examples=1, database=None)(lambda nothing: None))()
    _keep()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    # What a file leaves to the collector, such as an open socket, is found in that file.
    if nextitem is None or nextitem.path != item.path:
        _keep()


def _keep() -> None:
    """Spare the collector what stays. Hundreds of tests collect garbage, and going through all that
    has been imported would take a quarter of a second each time.
    """
    gc.collect()
    gc.freeze()
