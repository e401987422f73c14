"""Plugins that harm whoever tests them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import GoodVM
from vmsdk._pb.vm import vm_pb2 as pb

_ROOT = str(Path(__file__).parents[2])
_CODE = "import sys; sys.path[0] = sys.argv.pop(1); from tests.conformance import hostile; hostile.main()"


def command(protocol: int, manner: str) -> list[str]:
    """Return what starts a plugin of this *manner*, a class below or `Silent`."""
    return [sys.executable, "-c", _CODE, _ROOT, str(protocol), manner]


class Hangs(GoodVM):
    """Version never returns, and SIGTERM is ignored."""

    def Version(self, request: Empty) -> pb.VersionResponse:
        threading.Event().wait()
        return super().Version(request)


class Floods(GoodVM):
    """Writes to its log as fast as it can, forever."""

    def Version(self, request: Empty) -> pb.VersionResponse:
        threading.Thread(target=self.flood, daemon=True).start()
        return super().Version(request)

    def flood(self) -> None:
        while True:
            os.write(1, b"flood\n" * 10_000)
            os.write(2, b"x" * 65_536)


class Exits(GoodVM):
    """Ends during Version."""

    def Version(self, request: Empty) -> pb.VersionResponse:
        os._exit(7)


class Eats(GoodVM):
    """Takes 512 MiB of memory, and hangs."""

    def Version(self, request: Empty) -> pb.VersionResponse:
        self.hoard = os.urandom(1024) * (512 * 1024)
        threading.Event().wait()
        return super().Version(request)


def main() -> None:
    """Run the VM that the arguments name."""
    _, protocol, manner = sys.argv
    if manner == "Silent":  # never announces itself
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait()
    globals()[manner](int(protocol)).run()
