"""A moment without a free thread: the chain goes on after it, or the process ends. It never half
lives.
"""

from __future__ import annotations

import pytest
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.errors import HostError
from vmsdk.host.node import Host

from .plugin import PATIENCE_S, Lines, lively

MOMENTS = ("import", "initialize", "BOOTSTRAPPING", "NORMAL_OP", "shutdown")


@pytest.mark.parametrize("times", [1, 5, 1_000_000], ids=["one", "five", "for good"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_without_threads_is_survived_or_ends_the_process(moment: str, times: int) -> None:
    lines = Lines()
    host = Host(lively(short_of_threads=[moment, times]), log=lines, call_timeout_s=PATIENCE_S)
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
    except HostError:
        # It has ended by itself, and says why.
        assert host.process.wait(PATIENCE_S) not in (None, 0)
        assert "can't start new thread" in lines.text
    else:
        assert host.stop() is not None
        assert "Killed" not in lines.text
    finally:
        host.stop()
