"""The plugins that are compared: the examples on vmsdk, and the first of them on bare grpcio."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL = 45


def example(before: str = "") -> list[str]:
    """The timestamp example, as `vmsdk.serve` runs it after the code *before*."""
    code = before + "import vmsdk; from examples.timestamp.timestampvm import TimestampVM; "
    return _python(code + f"vmsdk.serve(TimestampVM(), protocol_version={PROTOCOL})")


def feed() -> list[str]:
    """The feed example, as `vmsdk.serve` runs it."""
    return _in_folder("feed", "FeedVM")


def tokens() -> list[str]:
    """The tokens example, as `vmsdk.serve` runs it."""
    return _in_folder("tokens", "TokensVM")


def bare() -> list[str]:
    """The same chain on bare grpcio."""
    return _python(f"from benchmarks.barevm import BareVM; BareVM().run({PROTOCOL})")


def _in_folder(name: str, vm: str) -> list[str]:
    code = f"sys.path.insert(0, {str(ROOT / 'examples' / name)!r}); import vmsdk; from {name}vm import {vm}; "
    return _python(code + f"vmsdk.serve({vm}(), protocol_version={PROTOCOL})")


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
