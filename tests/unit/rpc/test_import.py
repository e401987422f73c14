"""How the import of `vmsdk.rpc` sets gRPC up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVE = """
import os
import vmsdk.rpc
from vmsdk.rpc.listener import make_server
server = make_server()
server.add_insecure_port("127.0.0.1:0")
server.start()
print(os.environ.get("GRPC_EXPERIMENTS"))
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        with open(f"/proc/self/fdinfo/{name}") as file:
            lines = [line.split()[0] for line in file]
    except OSError:
        continue
    if "tfd:" in lines:
        print(lines.count("tfd:"))
server.stop(None).wait()
"""


def serve(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    return subprocess.run(
        [sys.executable, "-c", SERVE],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
def test_sockets_are_read_by_the_threads_that_wait_for_calls() -> None:
    ours, usual = serve(), serve(GRPC_EXPERIMENTS="event_engine_listener")
    assert ours.stderr == usual.stderr == ""
    # The queue's epoll set is made first: it holds the listening socket too, or its own wake-up
    # alone.
    assert ours.stdout.split()[:2] == ["None", "2"]
    assert usual.stdout.split()[:2] == ["event_engine_listener", "1"]
