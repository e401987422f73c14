"""How a VM uses the node's database service."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.errors import CallFailed, ChainFatal, HostError, InvalidResponse, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.plugin import with_variables
from vmsdk.host.service import ServiceError
from vmsdk.testing.areas.blocks import elsewhere
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import CHAIN_STATE, VM_SERVER, Severity, Skipped, Violation, contract
from vmsdk.testing.run import KILL
from vmsdk.testing.wire import (
    accept,
    app_request,
    attempt,
    call,
    changed_keys,
    get,
    get_ancestors,
    gossip,
    must_succeed,
    quiet_database,
    short,
    storage,
)

_DATABASE = "database/rpcdb/db_client.go"
_CORRUPTIBLE = "database/corruptabledb/db.go"
_WRITES = ("Put", "Delete", "WriteBatch")
_READS = ("Get", "Has", "NewIteratorWithStartAndPrefix", "IteratorNext")
_ROUNDS = 4
# A VM with more writes in one accept is killed only at these.
_MAX_KILLS = 4
_RELEASE_TIMEOUT_S = 5.0
_QUIET_S = 1.0
_SLOW_S = 2.0
_GARBAGE = 64
_IN_ONE_BATCH = "write the block, the state, the height index and the last accepted ID in one batch"


class _Writes:
    """Counts the database writes of a host's VM, and calls *before* with the number of each."""

    def __init__(self, host: Host, before: Callable[[int], None] = lambda number: None) -> None:
        self.count = 0
        self.changed = threading.Event()
        """Set by each write."""
        self._before = before
        self._database = host.services.database
        self._database.around, self._around_before = self._around, self._database.around

    def end(self) -> None:
        """Stop counting."""
        self._database.around = self._around_before

    def _around(self, method: str, request: Any, invoke: Callable[[], Any]) -> Any:
        if method in _WRITES:
            self.count += 1
            self.changed.set()
            self._before(self.count)
        return invoke()


def _killed_before_write(host: Host, number: int) -> _Writes:
    """Count the VM's writes, and kill it before the one with this number."""

    def kill(count: int) -> None:
        if count == number:
            host.process.send_signal(KILL)
            raise ServiceError("vmsdk check: killed before this write")

    return _Writes(host, kill)


def _fail_reads(method: str, request: Any, invoke: Callable[[], Any]) -> Any:
    if method in _READS:
        raise ServiceError("vmsdk check: this read fails")
    return invoke()


@contract("database", severity=Severity.MISBEHAVES, source="database/rpcdb/db_server.go", needs_blocks=True)
def iterators_are_released(bench: Bench) -> None:
    """The VM releases its iterators, or the node keeps them until the chain stops."""
    with bench.chain() as host:
        bench.grow(host, 1)
        database = host.services.database
        before = database.open_iterators
        for _ in range(_ROUNDS):
            (block,) = bench.grow(host, 1)
            get(host, block.id)
            host.chain.get_block_id_at_height(block.height)
            host.chain.get_ancestors(block.id)
            call(host, "Health", Empty())
            # A VM is most likely to forget the iterators of calls that fail.
            for method, request in (
                app_request(b"garbage"),
                ("GetBlock", pb.GetBlockRequest(id=os.urandom(32))),
                ("BuildBlock", pb.BuildBlockRequest()),
            ):
                attempt(host, method, request)
        # A client that reads ahead may release an iterator a little later.
        deadline = time.monotonic() + _RELEASE_TIMEOUT_S
        while database.open_iterators - before >= _ROUNDS and time.monotonic() < deadline:
            time.sleep(0.02)
        if database.open_iterators - before >= _ROUNDS:
            raise Violation(
                "the VM leaves database iterators open",
                sent=f"{_ROUNDS} times: a block, GetBlock, GetBlockIDAtHeight, GetAncestors, Health, and "
                "AppRequest, GetBlock and BuildBlock that can't succeed",
                got=f"{database.open_iterators - before} more open iterators",
                node="it keeps each with its snapshot until the chain stops, so its memory grows",
                cure="call IteratorRelease for each iterator, even after an error",
            )


@contract("database", severity=Severity.BETTER_NOT, source=VM_SERVER)
def garbage_is_not_stored(bench: Bench) -> None:
    """Garbage that peers send does not change the database: they could fill the disk."""
    with bench.chain() as host:
        before = quiet_database(host)
        for number in range(_GARBAGE):
            # Of several lengths, and text that is in no format.
            data = b"vmsdk check: garbage %d " % number * (1 + number % 3)
            requests: list[tuple[str, Message]] = [
                gossip(data),
                app_request(data, number),
                ("ParseBlock", pb.ParseBlockRequest(bytes=data)),
                ("BlockVerify", pb.BlockVerifyRequest(bytes=data)),
                ("GetBlock", pb.GetBlockRequest(id=os.urandom(32))),
                get_ancestors(os.urandom(32)),
            ]
            for method, request in requests:
                attempt(host, method, request)
        after = quiet_database(host)
        new = sorted(after.keys() - before.keys())
        grown = sum(map(len, after.values())) - sum(map(len, before.values()))
        # A VM may count messages, under a few keys with values of a fixed size.
        if len(new) >= _GARBAGE or grown >= _GARBAGE * len(b"vmsdk check: garbage"):
            raise Violation(
                "what peers send is stored although it is garbage",
                sent=f"{_GARBAGE} times: gossip, a request and a block that are text, GetBlock and "
                "GetAncestors of unknown IDs",
                got=f"{len(new)} new keys, and values that are {grown} bytes longer"
                + (f"; the first key is {new[0]!r}" if new else ""),
                node="any peer can fill its disk",
                cure="store what is valid and accepted; keep the rest in memory, up to a limit",
            )


@contract("database", severity=Severity.BETTER_NOT, source=CHAIN_STATE, needs_blocks=True)
def nothing_is_written_before_accept(bench: Bench) -> None:
    """Building, verifying and preferring a block do not change the database."""
    with bench.chain() as host:
        bench.grow(host, 1)
        space = host.services.database.space
        bench.submit(host)
        before = dict(space.items())
        block = bench.propose(host)
        changed = changed_keys(before, dict(space.items()))
        if changed:
            raise Violation(
                "the database changes before a block is accepted",
                sent=f"BuildBlock, BlockVerify and SetPreference of {block!r}",
                got=f"{len(changed)} changed keys, the first {changed[0].hex()}",
                node="it may reject the block: the accepted state must then be as if it had never existed",
                cure="keep what BlockVerify computes in memory, and write it in BlockAccept",
            )


@contract("database", severity=Severity.BETTER_NOT, source=_DATABASE, needs_blocks=True)
def batch_has_each_key_once(bench: Bench) -> None:
    """A batch has one operation for each key: the last one."""
    repeated: list[bytes] = []

    def watch(method: str, request: Any, invoke: Callable[[], Any]) -> Any:
        if method == "WriteBatch":
            counts = Counter(key for key, _ in {(put.key, put.value) for put in request.puts})
            counts.update({delete.key for delete in request.deletes})
            repeated.extend(key for key, count in counts.items() if count > 1)
        return invoke()

    with bench.connected() as host:
        host.services.database.around = watch
        host.chain.start()
        bench.grow(host, 2)
    if repeated:
        raise Violation(
            "a batch has several operations for one key",
            sent="Initialize, and two blocks",
            got=f"WriteBatch with the key {repeated[0].hex()} more than once",
            node="it applies all puts in order, then all deletes, whatever their order in the VM was",
            cure="send only the last operation for each key",
        )


@contract("database", severity=Severity.MISBEHAVES, source=_CORRUPTIBLE, needs_blocks=True)
def failed_write_stops_the_vm(bench: Bench) -> None:
    """BlockAccept fails if its database write does, and nothing is written after that."""

    def fail(number: int) -> None:
        if number == 1:
            raise ServiceError("vmsdk check: this write fails")

    with storage() as kept:
        with bench.start(**kept) as host:
            (first,) = bench.grow(host, 1)
            block = bench.propose(host)
            writes = _Writes(host, fail)
            try:
                call(host, "BlockAccept", pb.BlockAcceptRequest(id=block.id))
            except (CallFailed, PluginGone):
                pass  # Both stop the chain.
            else:
                if not writes.count:
                    raise Skipped("BlockAccept writes nothing to the node's database")
                raise Violation(
                    "BlockAccept succeeds although its database write failed",
                    sent=f"BlockAccept of {block!r}, whose first write fails with UNKNOWN",
                    got="the status OK",
                    node="it continues with a chain that lacks a block",
                    cure="let a failed write fail the call",
                )
            if host.process.alive:
                failed = writes.count
                attempt(host, "BlockReject", pb.BlockRejectRequest(id=block.id))
                host.chain.shutdown()
                if writes.count > failed:
                    raise Violation(
                        "the VM writes to the database after a failed write",
                        sent="BlockAccept whose write fails, BlockReject, Shutdown",
                        got=f"{writes.count - failed} more writes",
                        node="its disk gets a state that no other node has",
                        cure="after a failed write, fail each later one without sending it",
                    )
        with bench.alone(**kept) as host:
            _check_consistent(host, bench, first, block, "after a failed write and a restart")


@contract("database", severity=Severity.MISBEHAVES, source=_DATABASE, needs_blocks=True)
def closed_database_fails_the_accept(bench: Bench) -> None:
    """BlockAccept fails if the database reports in `err` that it is closed."""
    with bench.alone() as host:
        block = bench.propose(host)
        writes = _Writes(host)
        host.services.database.Close(rpcdb_pb2.CloseRequest())
        accepted = attempt(host, "BlockAccept", pb.BlockAcceptRequest(id=block.id))
        if accepted is not None and writes.count:
            raise Violation(
                "BlockAccept succeeds although the database is closed",
                sent=f"BlockAccept of {block!r}; each write returns err = ERROR_CLOSED",
                got="the status OK",
                node="it continues with a chain that lacks a block",
                cure="look at err in the response to each database call",
            )


@contract("database", severity=Severity.STOPS, source=_DATABASE, needs_blocks=True)
def slow_write_is_awaited(bench: Bench) -> None:
    """A node's database may take seconds for a write, while it compacts its files."""
    with bench.chain() as host:
        block = bench.propose(host)
        writes = _Writes(host, lambda number: time.sleep(_SLOW_S) if number == 1 else None)
        with must_succeed(
            "BlockAccept fails because the database is slow",
            sent=f"BlockAccept of {block!r}, whose first write takes {_SLOW_S:.0f} s",
            node="it stops the chain",
            cure="set no deadline for calls of the database",
            errors=HostError,
        ):
            host.chain.accept(block)
        writes.end()


@contract("database", severity=Severity.MISBEHAVES, source=_CORRUPTIBLE, needs_blocks=True)
def failed_read_is_not_missing(bench: Bench) -> None:
    """A block that can't be read is an error, not NOT_FOUND."""
    with storage() as kept:
        with bench.start(**kept) as host:
            first, _ = bench.grow(host, 2)
        with bench.alone(**kept) as host:
            host.services.database.around = _fail_reads
            requests = {
                "GetBlock": pb.GetBlockRequest(id=first.id),
                "GetBlockIDAtHeight": pb.GetBlockIDAtHeightRequest(height=first.height),
            }
            for method, request in requests.items():
                response = attempt(host, method, request)
                if response is not None and response.err == pb.ERROR_NOT_FOUND:
                    raise Violation(
                        f"{method} reports NOT_FOUND although the database failed",
                        sent=f"{method} of {first!r}, while each read fails with UNKNOWN",
                        got="err = ERROR_NOT_FOUND",
                        node="it remembers that the VM does not have the block",
                        cure="report NOT_FOUND only if the database does; let other errors fail the call",
                    )


@contract("database", severity=Severity.MISBEHAVES, source=_CORRUPTIBLE, needs_blocks=True)
def failed_read_is_no_new_chain(bench: Bench) -> None:
    """If the last accepted block can't be read, Initialize fails; it does not begin at genesis."""
    with storage() as kept:
        with bench.start(**kept) as host:
            *_, tip = bench.grow(host, 2)
        with bench.connected(**kept) as host:
            host.services.database.around = _fail_reads
            try:
                began = host.chain.initialize()
            except ChainFatal as error:
                if isinstance(error.cause, InvalidResponse):
                    raise
                began = tip  # It has failed, as it should.
        with bench.alone(**kept) as host:
            again = host.chain.last_accepted
    for found, when in ((began, "Initialize of that start returns"), (again, "after another start it has")):
        if found.id != tip.id:
            raise Violation(
                "the chain starts over because its database could not be read",
                sent=f"a start at block {tip.height}, while each read fails with UNKNOWN",
                got=f"{when} {found!r}, not {tip!r}",
                node="it stops the chain, whose last block is higher than the VM's; genesis may replace it",
                cure="begin a new chain only if the database reports NOT_FOUND; let other errors fail "
                "Initialize",
            )


@contract("database", severity=Severity.MISBEHAVES, source=CHAIN_STATE)
def initialize_is_atomic(bench: Bench) -> None:
    """After a kill at any write of the first Initialize, the chain starts at the same block."""
    with bench.initialized() as host:
        genesis = host.chain.last_accepted
    for number in range(1, _MAX_KILLS + 1):
        with storage() as kept:
            with bench.connected(**kept) as host:
                writes = _killed_before_write(host, number)
                try:
                    host.chain.initialize()
                except ChainFatal:
                    if writes.count < number:
                        raise
                if writes.count < number:
                    return
            try:
                with bench.alone(**kept) as host:
                    again = host.chain.last_accepted
            except ChainFatal as error:
                got = str(error)
            else:
                if again == genesis:
                    continue
                got = f"{again!r} instead of {genesis!r}"
            raise Violation(
                f"the chain does not start after a kill at write {number} of its first start",
                sent=f"Initialize with an empty database, a kill before write {number}, and a start",
                got=got,
                node="the chain is stuck until its database is removed",
                cure="write all of genesis in one batch, or the mark that it is complete last",
            )


@contract("database", severity=Severity.MISBEHAVES, source=CHAIN_STATE, needs_blocks=True)
def same_blocks_give_the_same_database(bench: Bench) -> None:
    """What accepted blocks store does not depend on the hash seed, the time zone or the locale."""
    blocks = [block.raw for block in bench.first_blocks(3)]
    here, there = with_variables(bench.command, "PYTHONHASHSEED=1"), elsewhere(bench.command)
    stored = []
    # What differs between the first and the last depends on the time, or on chance.
    for bench.command in (here, there, here):
        with bench.alone(blocks=blocks) as host:
            stored.append(quiet_database(host))
    first, other, last = stored
    if first != last:
        raise Skipped("the VM stores something else each time, such as the time of its start")
    keys = changed_keys(first, other)
    if keys:
        raise Violation(
            "the same blocks give two databases",
            sent=f"{len(blocks)} blocks, to two processes: one under another hash seed, time zone and locale",
            got=f"{len(keys)} keys that differ, the first {keys[0].hex()}: {_shown(first.get(keys[0]))}, and "
            f"{_shown(other.get(keys[0]))}",
            node="its state differs from that of its peers, so it refuses a block of theirs some day",
            cure="sort what you read from a set or a hash map; use UTC, and no locale",
        )


def _shown(value: bytes | None) -> str:
    return "missing" if value is None else short(value)


@contract("database", severity=Severity.BETTER_NOT, source="chains/manager.go", needs_blocks=True)
def nothing_is_written_after_shutdown(bench: Bench) -> None:
    """After Shutdown has returned, the VM does not write to the database."""
    with bench.alone() as host:
        bench.grow(host, 1)
        host.chain.shutdown()
        if _Writes(host).changed.wait(_QUIET_S):
            raise Violation(
                "the VM writes to the database after Shutdown",
                sent="Shutdown",
                got=f"a write within {_QUIET_S:.0f} s of its response",
                node="it has stopped the database's server by then: the write is lost",
                cure="stop background work and wait for it in Shutdown",
            )


@contract("database", severity=Severity.MISBEHAVES, source=CHAIN_STATE, needs_blocks=True)
def accept_is_atomic(bench: Bench) -> None:
    """A kill at any write of BlockAccept leaves the block accepted, or not at all."""
    with storage() as kept, ExitStack() as resources:
        host = resources.enter_context(bench.alone(**kept))
        (parent,) = bench.grow(host, 1)
        for number in range(1, _MAX_KILLS + 1):
            block = bench.propose(host)
            writes = _killed_before_write(host, number)
            try:
                call(host, "BlockAccept", pb.BlockAcceptRequest(id=block.id))
            except (CallFailed, PluginGone):
                if writes.count < number:
                    raise
            else:
                if writes.count < number:
                    return
            resources.close()
            when = f"after a kill at write {number} of its accept"
            with must_succeed(
                f"the chain does not start {when}",
                sent=f"BlockAccept of {block!r}, and a restart",
                node="the chain is stuck until its database is removed",
                cure=_IN_ONE_BATCH,
                errors=ChainFatal,
            ):
                host = resources.enter_context(bench.alone(**kept))
            parent = _check_consistent(host, bench, parent, block, when)


def _check_consistent(host: Host, bench: Bench, parent: Block, block: Block, when: str) -> Block:
    """Accept another block, and return it. Raises `Violation` if *block* on *parent* is accepted in
    part, or if the chain does not continue.
    """
    tip = host.chain.last_accepted
    at_height = host.chain.get_block_id_at_height(block.height)
    whole = {block.id: block.id, parent.id: None}
    if tip.id not in whole or at_height != whole[tip.id]:
        raise Violation(
            f"a block is accepted in part {when}",
            sent=f"BlockAccept of {block!r}, and a restart",
            got=f"last accepted {tip!r}, and {at_height} at height {block.height}",
            node="it serves a block that is not accepted, or stops the chain",
            cure=_IN_ONE_BATCH,
        )
    with must_succeed(
        f"the chain does not continue {when}",
        sent=f"BlockAccept of {block!r}, a restart, and another block",
        node="the chain is stuck until its database is removed",
        cure=_IN_ONE_BATCH,
    ):
        if tip.id == parent.id:
            accept(host, host.chain.parse_block(block.raw))
        (after,) = bench.grow(host, 1)
    return after
