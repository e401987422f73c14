"""`serve`, before there is a node."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

import vmsdk


class Unfinished(vmsdk.ChainVM):
    """A VM of which nobody will make an object."""


@pytest.mark.parametrize(
    ("given", "message"), [(Unfinished, r"as in serve\(Unfinished\(\)\)"), (None, "not None"), (3, "not 3")]
)
def test_what_is_not_a_vm_is_refused_before_a_node_connects(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        vmsdk.serve(given)


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
def test_a_process_knows_its_age() -> None:
    begun_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    code = "from vmsdk.runtime.version import _age_s; input(); print(_age_s())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    ) as process:
        said, _ = process.communicate("\n")
    # The system counts in hundredths of a second.
    assert 0 < float(said) <= time.clock_gettime(time.CLOCK_BOOTTIME) - begun_s + 0.02
