"""Plugin files whose VM is written in Python."""

from __future__ import annotations

import sys
from pathlib import Path

SERVE = "import vmsdk\nfrom {module} import {name}\nvmsdk.serve({name}(){version})\n"
RUN = "from {module} import {name}\n{name}().run({protocol})\n"
REPOSITORY = Path(__file__).resolve().parents[2]

TIMESTAMP = ("examples.timestamp.timestampvm", "TimestampVM")
EVERYTHING = ("tests.interop.everything.vm", "EverythingVM")
BARE = ("benchmarks.barevm", "BareVM")


def python_plugin(directory: Path, vm: tuple[str, str], protocol: int | None = None) -> Path:
    """An executable file in *directory* that serves the VM: a module of the sources, and its class."""
    module, name = vm
    version = "" if protocol is None else f", protocol_version={protocol}"
    start = RUN if vm == BARE else SERVE
    plugin = directory / f"{name}-{protocol or 'asking'}"
    plugin.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        + start.format(module=module, name=name, version=version, protocol=protocol),
        encoding="utf-8",
    )
    plugin.chmod(0o755)
    return plugin
