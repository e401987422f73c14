"""VMs that are installed for tests, each from a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from .plugin import ROOT

# Only a failing test waits that long.
COMMAND_TIMEOUT_S = 120.0

TIMESTAMP = ROOT / "examples" / "timestamp" / "timestampvm.py"


# On a busy machine, a node may take longer to print its version than a plugin waits.
_PATIENT = (
    "import vmsdk.runtime.version as _version; "
    f"_version.RESPONSE_TIMEOUT_S = _version.LATEST_HANDSHAKE_S = {COMMAND_TIMEOUT_S}"
)


class Environment:
    """A virtual environment in *directory* that has vmsdk, its cache of nodes' answers included.

    If *patient*, its plugins wait for a node's answer as long as it takes.
    """

    def __init__(self, directory: Path, *, patient: bool = False) -> None:
        self.directory = directory
        venv.create(directory, symlinks=True, with_pip=False)
        self.python = directory / "bin" / "python"
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(directory)}))
        # What the running environment has, this one has, too.
        lines = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
        if patient:
            lines.append(_PATIENT)
        (packages / "tests.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.answers = directory / "share" / "vmsdk" / "nodes"

    def vmsdk(
        self, *arguments: str | Path, environment: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return subprocess.run(
            [self.python, "-m", "vmsdk", *arguments],
            env={} if environment is None else environment,
            cwd=cwd,
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def install(self, target: str | Path, plugins: Path, *options: str, name: str = "timestampvm") -> Path:
        """The file that starts *target*."""
        done = self.vmsdk("install", target, "--name", name, "--plugin-dir", plugins, *options)
        assert done.returncode == 0, done.stderr
        (installed,) = plugins.iterdir()
        return installed
