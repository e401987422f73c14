"""A chain whose rules depend on what differs between machines: what the genesis says."""

from __future__ import annotations

import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC

SOURCES: dict[bytes, Any] = {
    b"a clock": lambda: int(time.time()),
    b"the local time": lambda: time.localtime(0).tm_hour,
    b"a hash": lambda: hash("text"),
    b"randomness": random.random,
    b"a uuid": uuid.uuid4,
    b"a set's order": lambda: list({str(each) for each in range(20)}),
    b"a dict from a set": lambda: dict.fromkeys({str(each) for each in range(20)}),
    b"an address": lambda: id(SOURCES),
    b"nothing": lambda: "",
}


class Fickle(chain.Chain):
    def genesis(self, state: chain.State, data: bytes) -> None:
        state[b"source"] = data

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[b"found"] = str(SOURCES[state[b"source"]]()).encode()

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"write": self.write})}

    def write(self, text: str) -> str:
        return str(self.submit(text.encode()))


if __name__ == "__main__":
    vmsdk.serve(Fickle())
