"""GetAncestors: the limits of the node's generic implementation, to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb

from .conftest import Serve, Served, refused
from .plainvm import PlainBlock, PlainVM

SECOND_NS = 1_000_000_000
OVERHEAD = 4


def chain(vm: PlainVM, length: int) -> list[PlainBlock]:
    """Accepted blocks, newest first, genesis last."""
    for height in range(1, length):
        block = vm.make(vm.last.id, height, bytes(10))
        vm.accepted[block.id] = vm.last = block
    return sorted(vm.accepted.values(), key=lambda block: -block.height)


def ancestors(served: Served, block_id: bytes, **limits: Any) -> list[bytes]:
    request = pb.GetAncestorsRequest(
        blk_id=block_id,
        max_blocks_num=limits.get("count", 2_000),
        max_blocks_size=limits.get("size", 1_677_721),
        max_blocks_retrival_time=limits.get("time_ns", 60 * SECOND_NS),
    )
    return list(served.client.GetAncestors(request).blks_bytes)


@pytest.fixture
def vm() -> PlainVM:
    return PlainVM()


def test_edge_49_an_unknown_block_has_no_ancestors(serve: Serve, vm: PlainVM) -> None:
    assert ancestors(serve(vm), b"\xaa" * 32) == []


def test_the_block_comes_first_then_its_parents(serve: Serve, vm: PlainVM) -> None:
    blocks = chain(vm, 5)
    assert ancestors(serve(vm), blocks[0].id, count=3) == [block.raw for block in blocks[:3]]


def test_edge_54_genesis_ends_the_list(serve: Serve, vm: PlainVM) -> None:
    blocks = chain(vm, 5)
    assert ancestors(serve(vm), blocks[0].id) == [block.raw for block in blocks]


@pytest.mark.parametrize("size", [1, 0, -1])
def test_edge_50_the_first_block_is_given_whatever_the_size(serve: Serve, vm: PlainVM, size: int) -> None:
    blocks = chain(vm, 3)
    assert ancestors(serve(vm), blocks[0].id, size=size) == [blocks[0].raw]


@pytest.mark.parametrize("count", [1, 0, -5])
def test_the_first_block_is_given_whatever_the_count(serve: Serve, vm: PlainVM, count: int) -> None:
    blocks = chain(vm, 3)
    assert ancestors(serve(vm), blocks[0].id, count=count) == [blocks[0].raw]


@pytest.mark.parametrize(("missing", "expected"), [(0, 2), (1, 1)])
def test_edge_51_a_sum_that_equals_the_limit_is_included(
    serve: Serve, vm: PlainVM, missing: int, expected: int
) -> None:
    blocks = chain(vm, 3)
    exact = sum(len(block.raw) + OVERHEAD for block in blocks[:2])
    assert len(ancestors(serve(vm), blocks[0].id, size=exact - missing)) == expected


@pytest.mark.parametrize(("time_ns", "expected"), [(0, 1), (-1, 1), (60 * SECOND_NS, 4)])
def test_edge_52_the_time_is_in_nanoseconds_and_none_left_gives_the_first_block(
    serve: Serve, vm: PlainVM, time_ns: int, expected: int
) -> None:
    blocks = chain(vm, 4)
    assert len(ancestors(serve(vm), blocks[0].id, time_ns=time_ns)) == expected


def test_edge_53_a_pruned_parent_ends_the_list(serve: Serve, vm: PlainVM) -> None:
    blocks = chain(vm, 5)
    del vm.accepted[blocks[2].id]
    assert ancestors(serve(vm), blocks[0].id) == [block.raw for block in blocks[:2]]


def test_a_fault_at_a_parent_keeps_what_was_found(serve: Serve, vm: PlainVM) -> None:
    blocks = chain(vm, 3)
    find = vm.get_block

    def broken(block_id: vmsdk.ID) -> PlainBlock:
        if block_id == blocks[1].id:
            raise OSError("bad sector")
        return find(block_id)

    vm.get_block = broken  # type: ignore[method-assign]
    assert ancestors(serve(vm), blocks[0].id) == [blocks[0].raw]


def test_a_fault_at_the_first_block_is_an_error(serve: Serve) -> None:
    def broken(block_id: vmsdk.ID) -> PlainBlock:
        raise OSError("bad sector")

    vm = PlainVM()
    served = serve(vm)
    vm.get_block = broken  # type: ignore[method-assign]
    assert refused(lambda: ancestors(served, b"\xaa" * 32))[1] == "OSError: bad sector"


def test_a_vm_with_the_power_looks_them_up_itself(serve: Serve) -> None:
    asked: list[tuple[int, int, float]] = []

    class Own(PlainVM, vmsdk.GetAncestors):
        def get_ancestors(
            self, block_id: vmsdk.ID, max_blocks: int, max_size: int, max_seconds: float
        ) -> Sequence[bytes]:
            asked.append((max_blocks, max_size, max_seconds))
            return [b"a", b"b"]

    served = serve(Own())
    assert ancestors(served, bytes(32), count=7, size=100, time_ns=SECOND_NS // 2) == [b"a", b"b"]
    assert asked == [(7, 100, 0.5)]


def test_edge_49_a_vm_with_the_power_that_raises_not_found_has_no_such_block(serve: Serve) -> None:
    class Own(PlainVM, vmsdk.GetAncestors):
        def get_ancestors(
            self, block_id: vmsdk.ID, max_blocks: int, max_size: int, max_seconds: float
        ) -> Sequence[bytes]:
            raise vmsdk.NotFound(f"no block {block_id}")

    assert ancestors(serve(Own()), bytes(32)) == []
