"""The session in docs/dev.md, as a reader types it."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vmsdk.host import devapi

from .devcommand import TIMEOUT_S, TIMESTAMP_VM, Dev

DEV = (Path(__file__).parents[2] / "docs" / "dev.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the session calls curl")
def test_the_session_with_anvils_verbs_gives_what_is_printed(tmp_path: Path) -> None:
    session = re.search(r"^```console\n(.*?)^```$", DEV, re.MULTILINE | re.DOTALL)
    assert session is not None
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", session[1], re.MULTILINE)
    expected = [line for line in session[1].splitlines() if line.startswith("{")]
    with Dev(TIMESTAMP_VM, "--alone", folder=tmp_path) as dev:
        address = dev.url().removeprefix("http://").partition("/")[0]
        script = "\n".join(commands).replace("127.0.0.1:9650", address)
        done = subprocess.run(
            ["bash", "-ec", script], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        assert done.stdout.splitlines() == expected
        dev.interrupt()
        assert dev.wait() == 0


def test_every_method_is_documented() -> None:
    source = inspect.getsource(devapi)
    methods = set(re.findall(r'"(dev_\w+)": Control', source))
    assert methods == set(re.findall(r"`(dev_\w+)`", DEV))
