"""The last step of docs/tutorial.md: the chain on three real nodes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.docs.pages import ROOT, blocks
from vmsdk import cli

from .conftest import Command

STEPS = [
    shlex.split(line)[2:]
    for block in blocks(ROOT / "docs" / "tutorial.md")
    for line in block.code.splitlines()
    if line.startswith("vmsdk network")
]


def test_the_chain_of_the_tutorial_on_three_nodes(command: Command, tmp_path: Path) -> None:
    project = tmp_path / "my-chain"
    assert cli.main(["new", "my-chain", "--directory", str(project)]) == 0
    start, *others = STEPS
    del start[start.index("--node") :]  # the fixture's
    printed = command.ok(*(str(project / each) if each.endswith(".py") else each for each in start))
    assert len(re.findall(r"http://\S+/ext/bc/my-chain", printed)) == 3
    for step in others:
        command.ok(*step)
    assert not list(command.networks.iterdir())
