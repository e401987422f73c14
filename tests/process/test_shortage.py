"""A moment without a free thread: the chain goes on after it, or the process ends. It never half
lives.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.errors import HostError, PluginGone
from vmsdk.host.node import Host
from vmsdk.services.channel import CHANNEL_OPTIONS, target

from .devcommand import Dev, call
from .plugin import PATIENCE_S, PLUGINS, ROOT, Lines, lively, mining

pytestmark = pytest.mark.slow

MOMENTS = ("import", "initialize", "BOOTSTRAPPING", "NORMAL_OP", "shutdown")


@pytest.mark.parametrize("times", [1, 5, 1_000_000], ids=["one", "five", "for good"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_without_threads_is_survived_or_ends_the_process(moment: str, times: int) -> None:
    lines = Lines()
    host = Host(lively(short_of_threads=[moment, times]), log=lines, call_timeout_s=PATIENCE_S, patient=False)
    try:
        host.start()
        genesis = host.client.GetBlock(pb.GetBlockRequest(id=host.chain.last_accepted.id))
        assert genesis.bytes
        assert host.client.Health(Empty()).details
        wait = host.client.WaitForEvent.start(Empty())
        gossip = host.client.AppGossip.start(pb.AppGossipMsg(node_id=bytes(20)))
        scrape = host.client.Gather.start(Empty())
        assert host.client.ParseBlock(pb.ParseBlockRequest(bytes=genesis.bytes)).id
        if times < 100:
            assert gossip.result(PATIENCE_S) == Empty()
            assert scrape.result(PATIENCE_S).metric_families
        wait.cancel()
    except (HostError, grpc.RpcError):
        # It has ended by itself, and says why.
        assert host.process.wait(PATIENCE_S) not in (None, 0)
        assert "can't start new thread" in lines.text
    else:
        assert host.stop() is not None
        assert "Killed" not in lines.text
    finally:
        host.stop()


SHORTAGE_S = 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize("lack", ["threads", "descriptors"])
def test_a_chain_survives_a_real_shortage_or_ends_with_its_reason(lack: str) -> None:
    lines, accepted = Lines(), Accepted()
    host = Host([sys.executable, str(PLUGINS / "short.py")], log=lines, call_timeout_s=PATIENCE_S)
    try:
        host.start()
        host.chain.on_accepted = accepted
        with mining(host):
            propose(host, b"before")
            accepted.wait_for(b"before", host)
            order(host, f"no {lack}")
            number, end_s = 0, time.monotonic() + SHORTAGE_S
            while time.monotonic() < end_s:
                number += 1
                use(host, number)
            order(host, "plenty")
            propose(host, b"after")
            accepted.wait_for(b"after", host)
            assert request(host, "/app").code == 204
            assert host.chain.health() is not None
    except (HostError, grpc.RpcError):
        assert host.process.wait(PATIENCE_S) not in (None, 0), lines.text
        assert "the process ends: " in lines.text
    else:
        # gRPC's core may wait for a thread that it could not start while Python exits.
        assert host.stop() in (0, -signal.SIGALRM)
        assert "Traceback" not in lines.text
    finally:
        host.stop()


def order(host: Host, text: str) -> None:
    with contextlib.suppress(grpc.RpcError):
        host.client.ParseBlock(pb.ParseBlockRequest(bytes=text.encode()))


def use(host: Host, number: int) -> None:
    """All that a node does with a chain. Any of it may fail during the shortage, and calls that do
    not belong to the engine may wait until its end.
    """
    gossip = pb.AppGossipMsg(node_id=bytes(20), msg=b"%d" % number)
    for action in (
        lambda: host.client.ParseBlock(pb.ParseBlockRequest(bytes=b"%d" % number)),
        lambda: host.client.Gather.start(Empty(), SHORTAGE_S).result(),
        lambda: host.client.Health(Empty()),
        lambda: host.client.AppGossip.start(gossip, SHORTAGE_S).result(),
        lambda: request(host, "/app", timeout_s=SHORTAGE_S),
        lambda: propose(host, b"%d" % number, SHORTAGE_S),
    ):
        # Anything but a JSON-RPC response is a page with status 500.
        with contextlib.suppress(grpc.RpcError, ValueError, KeyError):
            action()


def propose(host: Host, data: bytes, timeout_s: float = PATIENCE_S) -> None:
    assert json_rpc(host, "timestampvm.proposeBlock", timeout_s, data=data.hex())["success"]


class Accepted:
    """The data of accepted blocks."""

    def __init__(self) -> None:
        self._all: set[bytes] = set()
        self._changed = threading.Condition()

    def __call__(self, block: Block) -> None:
        with self._changed:
            self._all.add(block.raw[-32:].rstrip(b"\0"))
            self._changed.notify_all()

    def wait_for(self, data: bytes, host: Host) -> None:
        """Raises `PluginGone` if the process ends before."""
        with self._changed:
            while data not in self._all:
                if not self._changed.wait(0.1) and host.process.exit_code is not None:
                    raise PluginGone("it has ended", host.process.exit_code)


def request(host: Host, prefix: str, body: bytes = b"", timeout_s: float = PATIENCE_S) -> Any:
    """One HTTP request over a connection of its own."""
    kind = http_pb2.Element(key="Content-Type", values=["application/json"])
    address = target(host.chain.handlers[prefix])
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call = HTTP.HandleSimple.on(channel)
        message = http_pb2.HandleSimpleHTTPRequest(
            method="POST", url=f"/ext/bc/x{prefix}", request_headers=[kind], body=body
        )
        return call(message, timeout=timeout_s)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only Linux's root may mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1_024))
    return filler


# The host writes with the first block that the proposervm wraps, and the VM with each.
@pytest.mark.parametrize("before", [1, 3])
def test_vmsdk_dev_ends_with_its_reason_when_its_disk_is_full_and_goes_on_later(
    small_disk: Path, tmp_path: Path, before: int
) -> None:
    arguments = (ROOT / "examples" / "guestbook" / "guestbook.py", "--data-dir", small_disk / "chain")
    with Dev(*arguments, folder=tmp_path) as dev:
        url = dev.url()
        for number in range(before):
            call(url, "write", text=f"{number}")
            dev.line(f"^block {number + 1} ")
        filler = fill(small_disk)
        for number in range(before, 1_000):
            if dev.has_ended:
                break
            with contextlib.suppress(OSError, HTTPException, AssertionError):  # it ends
                call(url, "write", text=f"{number}" * 20)
        assert dev.wait() == 1
        own = [line for line in dev.output.splitlines() if not line.startswith("vm | ")]
        # A request may still get its status 503 after that.
        assert any("database or disk is full" in line for line in own), dev.output
        assert not any(line.startswith("Traceback") for line in own)
    filler.unlink()
    with Dev(*arguments, folder=tmp_path) as dev:
        url = dev.url()
        call(url, "write", text="after")
        dev.line(r"^block ")
        assert call(url, "read")[-1] == "after"
        dev.interrupt()
        assert dev.wait() == 0


def test_a_chain_goes_on_while_the_disk_of_its_index_is_full(small_disk: Path) -> None:
    lines = Lines()
    host = Host([sys.executable, str(PLUGINS / "indexed.py")], log=lines, chain_data_dir=small_disk / "data")
    with host:
        assert json_rpc(host, "texts.wait", height=0) == 0
        filler = fill(small_disk)
        for number in range(10):
            json_rpc(host, "texts.submit", text=f"{number}" * 8_000)
            host.chain.produce()
        lines.wait_for("database or disk is full")
        filler.unlink()
        assert json_rpc(host, "texts.wait", height=10) == 10
    assert host.process.exit_code == 0


def json_rpc(host: Host, method: str, timeout_s: float = PATIENCE_S, **params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.loads(request(host, "", json.dumps(call).encode(), timeout_s).body)["result"]
