"""A chain whose rules depend on what differs between machines: what the genesis says."""

from __future__ import annotations

import locale
import os
import random
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC

HERE = Path(__file__).parent
heard: list[str] = []
accepted: list[vmsdk.ID] = []


def _texts() -> set[str]:
    return {str(each) for each in range(20)}


def _elsewhere() -> bool:
    """Whether this is the shadow: it is given a time zone."""
    return "TZ" in os.environ


def _end_elsewhere() -> None:
    if _elsewhere():
        os._exit(3)


def _hang_elsewhere() -> None:
    if _elsewhere():
        threading.Event().wait()


def _dawdle_elsewhere() -> None:
    if _elsewhere():
        time.sleep(0.2)


SOURCES: dict[bytes, Any] = {
    b"a clock": lambda: int(time.time()),
    b"the local time": lambda: time.localtime(0).tm_hour,
    b"a hash": lambda: hash("text"),
    b"randomness": random.random,
    b"a uuid": uuid.uuid4,
    b"a set's order": lambda: list(_texts()),
    b"a dict from a set": lambda: dict.fromkeys(_texts()),
    b"an address": lambda: id(SOURCES),
    b"a float's text": lambda: repr(sum(1 / (1 + int(each)) for each in _texts())),
    b"a locale": lambda: (locale.setlocale(locale.LC_ALL, ""), f"{1.5:n}"),
    b"gossip": lambda: int("gossip" in heard),
    b"a directory": lambda: ([*os.listdir(HERE)], [*HERE.glob("*.py")]),
    b"the environment": lambda: sorted(os.environ.items()),
    b"a process ID": os.getpid,
    b"an end elsewhere": _end_elsewhere,
    b"a hang elsewhere": _hang_elsewhere,
    b"a slow machine": _dawdle_elsewhere,
    b"what a restart loses": lambda: len(accepted),
    b"a bug in gossip": lambda: "",
    b"death by gossip": lambda: "",
    b"nothing": lambda: "",
}


class Fickle(chain.Chain):
    source = b""

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        self.source = genesis
        super().initialize(ctx, genesis, upgrade, config)

    def genesis(self, state: chain.State, data: bytes) -> None:
        state[b"source"] = data

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[b"found"] = str(SOURCES[state[b"source"]]()).encode()

    def on_accept(self, block: chain.Block) -> None:
        accepted.append(block.id)

    def app_gossip(self, node_id: vmsdk.NodeID, message: bytes) -> None:
        heard.append("gossip")
        if self.source.endswith(b" elsewhere"):
            return  # The block is to do it.
        if self.source == b"a bug in gossip":
            raise ValueError("this gossip is not understood")
        if self.source == b"death by gossip":
            raise vmsdk.Fatal("this gossip can't be borne")
        super().app_gossip(node_id, message)

    def app_response(self, node_id: vmsdk.NodeID, request_id: int, response: bytes) -> None:
        if not self.source.endswith(b" elsewhere"):
            super().app_response(node_id, request_id, response)

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"write": self.write})}

    def write(self, text: str) -> str:
        return str(self.submit(text.encode()))


if __name__ == "__main__":
    vmsdk.serve(Fickle())
