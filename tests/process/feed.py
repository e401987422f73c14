"""The feed example as a plugin, behind a node's HTTP front."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import httpx
from typing_extensions import Self

from vmsdk.host.http import HTTPFront
from vmsdk.host.node import Host
from vmsdk.ids import NodeID
from vmsdk.protocol import protocol

from .plugin import PATIENCE_S, ROOT, Lines, mining

GENESIS = b"hello, world"


def feed(version: int) -> list[str]:
    """The command that serves the example at a protocol version."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import feedvm, vmsdk; "
        "vmsdk.serve(feedvm.FeedVM(), protocol_version=int(sys.argv[2]))"
    )
    return [sys.executable, "-c", code, str(ROOT / "examples" / "feed"), str(version)]


class Feed:
    """A running chain, and the address of its app. It accepts what it builds, unless the test says
    what is done.
    """

    def __init__(self, version: int, *, runs: bool = True, **settings: Any) -> None:
        self._runs = runs
        self._mining = ExitStack()
        self.lines = Lines()
        self.host = Host(feed(version), protocol=version, genesis=GENESIS, log=self.lines, **settings)
        self.front = HTTPFront(protocol(version), NodeID(bytes(20)))

    def __enter__(self) -> Self:
        self.host.start()
        chain = self.host.config.chain_id
        self.front.start()
        assert self.front.add_chain(chain, ["feed"], self.host.chain.handlers) == []
        self.front.set_normal_op(chain, True)
        if self._runs:
            self._mining.enter_context(mining(self.host))
        self.base = f"/ext/bc/{chain}/api"
        self.url = f"http://{self.front.address}{self.base}"
        self.ws = f"ws://{self.front.address}{self.base}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mining.close()
        self.host.stop()
        self.front.stop()

    def post(self, text: str) -> None:
        """Let *text* become a block."""
        response = httpx.post(f"{self.url}/messages", json={"text": text}, timeout=PATIENCE_S)
        assert response.status_code == 202, response.text
