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
    code = (
        f"sys.path.insert(0, {str(ROOT / 'examples' / 'feed')!r}); import vmsdk; from feedvm import FeedVM; "
    )
    return _python(code + f"vmsdk.serve(FeedVM(), protocol_version={PROTOCOL})")


def bare() -> list[str]:
    """The same chain on bare grpcio."""
    return _python(f"from benchmarks.barevm import BareVM; BareVM().run({PROTOCOL})")


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
