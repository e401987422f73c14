"""What the strict checks report of a VM in any language, and what they don't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.process.plugins.bare_vm import BareVM, block_bytes
from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.chain import Chain
from vmsdk.host.strict import MAX_UNASKED_BLOCKS, QUIET_S, Strict


@dataclass
class Watched:
    """A chain under the checks, with a clock that stands still."""

    chain: Chain
    now_s: float = 0.0
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        services = self.chain.services
        self.strict = self.chain.strict = Strict(
            self.chain.engine,
            services.database.space,
            services.disk.space(b"strict"),
            self.broken.append,
            lambda: self.now_s,
        )
        self.chain.start()

    def produce(self, vm: BareVM) -> None:
        vm.propose(b"%d" % self.chain.last_accepted.height)
        self.chain.produce()


Watch = Callable[[BareVM], Watched]


@pytest.fixture
def watch(start_chain: Callable[..., Chain]) -> Watch:
    return lambda vm: Watched(start_chain(vm))


class ParsesOtherwise(BareVM):
    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        response = super().ParseBlock(request)
        response.height += 1
        return response


class Jumps(BareVM):
    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        parent = self.find(self.preferred)
        assert parent is not None
        data = block_bytes(parent.height + 7, parent.seconds + 1, parent.id, self.pending.pop(0))
        return self.response_of(self.parse(data))


class ParsesNothing(BareVM):
    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        raise ValueError("what is that?")


class Scribbles(BareVM):
    def scribble(self, **changes: Any) -> None:
        self.call(self.database, Database.WriteBatch, rpcdb_pb2.WriteBatchRequest(**changes))


class WritesEarly(Scribbles):
    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        self.scribble(puts=[rpcdb_pb2.PutRequest(key=b"early", value=b"")])
        return super().BuildBlock(request)


class Prunes(Scribbles):
    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        self.scribble(deletes=[rpcdb_pb2.DeleteRequest(key=b"old")])
        return super().BuildBlock(request)


@pytest.mark.parametrize(
    ("vm", "rule"),
    [
        (ParsesOtherwise(), "the height of block 1 is 1 when built, and 2 when parsed: other nodes get only"),
        (Jumps(), "block 7 follows block 0: nodes find blocks by height, and expect each to be one above"),
        (ParsesNothing(), "the VM can't parse block 1, which it built (ParseBlock: what is that?): other"),
        (WritesEarly(), "the VM wrote to its database while it built block 1 (keys 0x6561726c79): until it"),
    ],
)
def test_a_broken_rule_is_reported_once(watch: Watch, vm: BareVM, rule: str) -> None:
    watched = watch(vm)
    for _ in range(2):
        watched.now_s += QUIET_S
        watched.produce(vm)
    assert [text[: len(rule)] for text in watched.broken] == [rule]


@pytest.mark.parametrize("vm", [BareVM(), Prunes()])
def test_a_good_vm_is_left_alone(watch: Watch, vm: BareVM) -> None:
    watched = watch(vm)
    for _ in range(2):
        watched.now_s += QUIET_S
        watched.produce(vm)
    assert not watched.broken


def test_what_is_written_right_after_an_accept_may_come_from_the_background(watch: Watch) -> None:
    vm = WritesEarly()
    watched = watch(vm)
    watched.now_s = -QUIET_S + 0.01  # the start counts as an accept
    watched.produce(vm)
    watched.produce(vm)
    assert not watched.broken


@pytest.mark.parametrize(("apart_s", "is_asked", "found"), [(0, False, 1), (1, False, 0), (0, True, 0)])
def test_only_many_blocks_at_once_that_nothing_asked_for_are_endless_work(
    watch: Watch, apart_s: float, is_asked: bool, found: int
) -> None:
    vm = BareVM()
    watched = watch(vm)
    for _ in range(MAX_UNASKED_BLOCKS + 1):
        watched.now_s += apart_s
        watched.produce(vm)
        if is_asked:
            watched.strict.heard()
    assert len(watched.broken) == found
