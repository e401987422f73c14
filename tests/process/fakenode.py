"""Executables that pass for a node's: see `fakenode.c`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(
    COMPILER is None,
    reason="a node is a compiled program: install a C compiler (cc) to make one that passes for it",
)


def answer(protocol: int, application: str = "metalgo/1.99.0") -> str:
    """What a node of that protocol says."""
    return f"{application} [database=v1.4.5, rpcchainvm={protocol}, commit=0123abc, go=1.26.8]"


class FakeNode:
    """A node executable at *path* that says *text* when it is asked for its version."""

    def __init__(self, path: Path, text: str, *, delay_ms: int = 0, repeat: int = 1) -> None:
        assert COMPILER is not None
        self.path = path
        self._asked = path.with_name(f"{path.name}.asked")
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"ANSWER": f'"{text}"', "ASKED": f'"{self._asked}"', "DELAY_MS": delay_ms, "REPEAT": repeat}
        # To another name first: the file of a running program can't be written to.
        new = path.with_name(f"{path.name}.new")
        subprocess.run(
            [COMPILER, *(f"-D{name}={value}" for name, value in options.items()), "-o", new, SOURCE],
            check=True,
        )
        new.replace(path)

    @property
    def asked(self) -> list[int]:
        """The process IDs of those that were asked."""
        return [int(line) for line in self._asked.read_text().split()] if self._asked.exists() else []
