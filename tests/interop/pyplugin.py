"""Plugin files whose VM is written in Python."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

TIMESTAMP = ("examples.timestamp.timestampvm", "TimestampVM")
EVERYTHING = ("tests.interop.everything.vm", "EverythingVM")


def python_plugin(directory: Path, vm: tuple[str, str], protocol: int | None = None) -> Path:
    """An executable file in *directory* that serves the VM: a module of the sources, and its class."""
    module, name = vm
    version = "" if protocol is None else f", protocol_version={protocol}"
    plugin = directory / f"{name}-{protocol or 'asking'}"
    plugin.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "import vmsdk\n"
        f"from {module} import {name}\n"
        f"vmsdk.serve({name}(){version})\n",
        encoding="utf-8",
    )
    plugin.chmod(0o755)
    return plugin
