"""The command that starts a plugin."""

from __future__ import annotations

import subprocess
from pathlib import Path

from vmsdk.host.plugin import with_variables


def test_variables_reach_a_program_with_an_equals_sign_in_its_path(tmp_path: Path) -> None:
    program = tmp_path / "a=b" / "plugin"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$MARK|$1"\n')
    program.chmod(0o755)
    command = with_variables([str(program), "an argument"], "MARK=a value")
    assert subprocess.check_output(command, env={}, text=True) == "a value|an argument\n"
