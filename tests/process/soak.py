"""Engine calls with random cancellations: `python -m tests.process.soak --calls 1000000`.

Prints what the plugin holds at the start, at each tenth, and at the end.
"""

from __future__ import annotations

import argparse
import os
import random
from collections import deque
from typing import Any, NamedTuple

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.process.plugin import PATIENCE_S, lively
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.node import Host

IN_FLIGHT = 8
CANCELLED = 0.5


class Held(NamedTuple):
    """What a process holds."""

    threads: int
    descriptors: int
    memory_kib: int


def held(pid: int) -> Held:
    """What the process *pid* holds now."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return Held(
        len(os.listdir(f"/proc/{pid}/task")),
        len(os.listdir(f"/proc/{pid}/fd")),
        pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    )


def soak(calls: int, seed: int) -> list[Held]:
    """Make the calls; returns what the plugin held after each tenth of them."""
    dice = random.Random(seed)
    found: list[Held] = []
    with Host(lively()) as host:
        client, block = host.client, host.chain.last_accepted
        assert host.process.pid is not None
        kinds = (
            lambda: client.ParseBlock.start(pb.ParseBlockRequest(bytes=block.raw)),
            lambda: client.GetBlock.start(pb.GetBlockRequest(id=block.id)),
            lambda: client.SetPreference.start(pb.SetPreferenceRequest(id=block.id)),
            lambda: client.Health.start(Empty()),
            lambda: client.Version.start(Empty()),
            lambda: client.AppGossip.start(pb.AppGossipMsg(node_id=bytes(20))),
            lambda: client.Gather.start(Empty()),
        )
        flying: deque[Any] = deque()
        for number in range(calls):
            # All as often: what each call of one kind leaves behind shows among all the calls.
            call: Any = dice.choice(kinds)()
            if dice.random() < CANCELLED:
                call.cancel()
            if dice.random() < CANCELLED:
                client.WaitForEvent.start(Empty()).cancel()
            flying.append(call)
            if len(flying) > IN_FLIGHT:
                end(flying.popleft())
            if (number + 1) % (calls // 10) == 0:
                while flying:
                    end(flying.popleft())
                found.append(held(host.process.pid))
    return found


def end(call: Any) -> None:
    """Wait for *call*."""
    try:
        call.result(PATIENCE_S)
    except grpc.FutureCancelledError:
        pass
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.CANCELLED:
            raise


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make many engine calls, and cancel some.")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for tenth, each in enumerate(soak(arguments.calls, arguments.seed), start=1):
        print(
            f"{tenth * 10} %: {each.threads} threads, {each.descriptors} descriptors, {each.memory_kib} KiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
