"""Plugin files whose VM is written in Python."""

from __future__ import annotations

import sys
from pathlib import Path

from vmsdk.install.launcher import Launcher
from vmsdk.target import SourceTarget

REPOSITORY = Path(__file__).resolve().parents[2]

TIMESTAMP = "examples.timestamp.timestampvm:TimestampVM"
EVERYTHING = "tests.interop.everything.vm:EverythingVM"


def python_plugin(directory: Path, target: str, protocol: int) -> Path:
    """The file that `vmsdk install` would write for the VM, in *directory* and under the class's
    name.
    """
    name = target.rpartition(":")[2]
    module, _, attribute = target.partition(":")
    source = SourceTarget(target, module, None, attribute, REPOSITORY)
    launcher = Launcher(name, source, sys.executable, (str(REPOSITORY),), protocol=protocol)
    return _written(directory / f"{name}-{protocol}", launcher.to_bytes())


def bare_plugin(directory: Path, protocol: int) -> Path:
    """The timestamp chain on bare grpcio."""
    return _script(directory / "bare", f"from benchmarks.barevm import BareVM\nBareVM().run({protocol})\n")


def raw_plugin(directory: Path, experiment: str, protocol: int) -> Path:
    """One that runs an experiment on the node: see `rawplugin`."""
    run = f"from tests.interop.rawplugin import RawPlugin\nRawPlugin({protocol}, {experiment!r}).run()\n"
    return _script(directory / f"raw-{experiment}", run)


def _script(path: Path, text: str) -> Path:
    head = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
    return _written(path, (head + text).encode())


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o755)
    return path
