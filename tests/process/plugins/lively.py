"""A plugin whose life is told by its arguments: a JSON object, read below."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from tests.wire.rpc.plainvm import PlainBlock, PlainVM
from vmsdk.http import JSONRPC

ORDERS = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}


def begin_shortage(moment: str) -> None:
    """Refuse the threads that `{"short_of_threads": [moment, times]}` says, from that moment on."""
    if ORDERS.get("short_of_threads", [None])[0] != moment:
        return
    start, left = threading.Thread.start, iter(range(ORDERS["short_of_threads"][1]))

    def refuse(thread: threading.Thread) -> None:
        if next(left, None) is None:
            start(thread)
        else:
            raise RuntimeError("can't start new thread")

    threading.Thread.start = refuse  # type: ignore[method-assign, assignment]


class Service:
    def ping(self) -> str:
        return "pong"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class LivelyVM(PlainVM):
    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        begin_shortage("initialize")
        super().initialize(ctx, genesis, upgrade, config)
        if "raise" in ORDERS:
            raise RuntimeError(ORDERS["raise"])
        if "say" in ORDERS:
            say()

    def create_handlers(self) -> dict[str, Any]:
        return {"/plain": JSONRPC("lively", Service()), "/app": app} if "serve_http" in ORDERS else {}

    def set_state(self, state: vmsdk.State) -> None:
        begin_shortage(state.name)
        super().set_state(state)

    def shutdown(self) -> None:
        begin_shortage("shutdown")
        if "tell_shutdown" in ORDERS:
            Path(ORDERS["tell_shutdown"]).write_text("shut down", encoding="utf-8")
        if "write_at_shutdown" in ORDERS:
            self.ctx.db.put(b"last", b"words")
        if ORDERS.get("hang_at_shutdown"):
            threading.Event().wait()

    def parse_block(self, data: bytes) -> PlainBlock:
        if data == b"close stdout":
            os.close(1)
            threading.Event().wait()
        if data.startswith(b"wait for "):
            # Until a file appears: the test holds this call open while it does something else.
            path = Path(data.removeprefix(b"wait for ").decode())
            path.with_suffix(".begun").touch()
            while not path.exists():
                time.sleep(0.01)
            return self.genesis
        return super().parse_block(data)


def say() -> None:
    """Everything by which a Python program speaks, from many threads."""
    print("print: Füße ☃")
    print("to stderr", file=sys.stderr)
    logging.getLogger("library").warning("two\nlines")
    warnings.warn("a warning", stacklevel=1)
    threads = [
        threading.Thread(target=lambda n=n: [print("thread", n, "x" * 200) for _ in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("no line end", end="", flush=True)
    print()
    print("lone \udcff surrogate")


if "import_takes_s" in ORDERS:
    time.sleep(ORDERS["import_takes_s"])
begin_shortage("import")
vmsdk.serve(LivelyVM(), protocol_version=ORDERS.get("protocol"), transport=ORDERS.get("transport", "auto"))
if "tell_end" in ORDERS:
    Path(ORDERS["tell_end"]).write_text("returned", encoding="utf-8")
