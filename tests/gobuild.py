"""Compiles Go programs for the tests of nodes, showing progress."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

GO_IS_MISSING = "no `go` in PATH: install Go 1.26 or newer (https://go.dev/dl)"
_LINES_PER_DOT = 20


class BuildError(Exception):
    """A program doesn't compile."""

    def __init__(self, program: str, output: str) -> None:
        self.program = program
        self.output = output
        super().__init__(f"{program} does not compile:\n{output}")


@cache
def go_version() -> str | None:
    """What `go env GOVERSION` prints, or None without Go."""
    if shutil.which("go") is None:
        return None
    return subprocess.run(
        ["go", "env", "GOVERSION"], check=True, capture_output=True, text=True
    ).stdout.strip()


def go_build(
    program: str, arguments: Sequence[str], directory: Path, progress: Callable[[], object] | None = None
) -> None:
    """Run `go build` in *directory*, at low priority; call *progress* now and then.

    Raises `BuildError` with the compiler's output.
    """
    command = ["nice"] if shutil.which("nice") else []
    command += ["go", "build", "-v", "-buildvcs=false", "-trimpath", "-p", str(min(2, os.cpu_count() or 1))]
    output = []
    with subprocess.Popen(
        [*command, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:  # -v prints each package and each download
            output.append(line)
            if progress is not None and len(output) % _LINES_PER_DOT == 0:
                progress()
    if process.returncode != 0:
        raise BuildError(program, "".join(output))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep several test processes from building the same program at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_all(builds: Sequence[tuple[str, Callable[[Callable[[], object]], object]]]) -> int:
    """Run titled builds one after the other, with a line of dots for each; return an exit
    status.
    """
    if go_version() is None:
        print(f"can't build what the tests of nodes run: {GO_IS_MISSING}", file=sys.stderr)
        return 1
    for count, (title, build) in enumerate(builds, 1):
        print(f"[{count}/{len(builds)}] {title} ", end="", flush=True)
        begun_s = time.monotonic()
        try:
            build(lambda: print(".", end="", flush=True))
        except BuildError as error:
            print(f" failed\n{error}", file=sys.stderr)
            return 1
        print(f" {time.monotonic() - begun_s:.1f} s")
    return 0
