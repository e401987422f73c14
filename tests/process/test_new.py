"""A project of `vmsdk new` is green at once, with the VM in one process and as a plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk import cli

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", [[], ["--vm-process"]], ids=["in process", "plugin"])
@pytest.mark.parametrize("options", [[], ["--low-level"]], ids=["chain", "low-level"])
def test_its_tests_pass(tmp_path: Path, options: list[str], mode: list[str]) -> None:
    assert cli.main(["new", "my-chain", "--directory", str(tmp_path), *options]) == 0
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *mode],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout
