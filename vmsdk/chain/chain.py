"""A complete chain, except for its rules, which are in one method, `execute`."""

from __future__ import annotations

import logging
import threading
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from vmsdk.chain.accepted import AcceptedState
from vmsdk.chain.admission import Admission
from vmsdk.chain.block import Block, Header, as_topic
from vmsdk.chain.builder import Builder
from vmsdk.chain.candidate import Candidate, ContextCandidate
from vmsdk.chain.checks import Checks
from vmsdk.chain.derived import Follower
from vmsdk.chain.errors import Invalid
from vmsdk.chain.execution import Executed, Execution, ForHandlers, Rules, name_of
from vmsdk.chain.feed import Feed
from vmsdk.chain.gossip import transaction_gossip
from vmsdk.chain.history import History, LoggedEvent, Outcomes, Receipt
from vmsdk.chain.limits import Limits
from vmsdk.chain.mempool import Mempool, Pending
from vmsdk.chain.metrics import ChainMetrics
from vmsdk.chain.overrides import must_extend
from vmsdk.chain.state import Overlay
from vmsdk.chain.state import State as ChainState
from vmsdk.chain.transactions import not_a_kind, parser
from vmsdk.context import Context
from vmsdk.errors import InvalidBlock, InvalidEncoding, NotFound, Refused, VMError
from vmsdk.ids import ID
from vmsdk.interface import Interface, must_not_hold
from vmsdk.p2p.network import Network, Networked
from vmsdk.state import State
from vmsdk.timestamp import now_ns
from vmsdk.vm import BuildBlockWithContext, GetAncestors

# Recently accepted transactions, which peers may still gossip.
MAX_RECENT_TRANSACTIONS = 65_536
ANCESTORS_PER_READ = 64
_LIMITS = b"mlimits"  # `Limits.rules`, each at the highest value that it has had
# An override of one of these methods of `Chain` must call it.
EXTENDED = (
    *("initialize", "set_state", "shutdown", "connected", "disconnected"),
    *("app_request", "app_request_failed", "app_response", "app_gossip"),
)


class Hooks(Interface):
    """Optional methods besides the rules."""

    def on_accept(self, block: Block) -> None:
        """Called after *block* is stored. An exception is logged and does not stop the chain."""

    def followers(self) -> Iterable[Follower[Block]]:
        """Your indexes of accepted blocks. Called once, by `initialize`."""
        return ()


@dataclass
class _Progress:
    """Mutable state of a running chain. `Chain.__setattr__` protects the attributes themselves."""

    last: Block
    is_normal: bool = False
    differed_at: int = 0
    """The height of the last block that was reported as nondeterministic."""


class Chain(Rules, Hooks, Networked, GetAncestors):
    """A complete blockchain, except for its rules, which a subclass provides.

    The node runs it like any `ChainVM`. `execute` runs when a transaction is admitted, and when a
    block is built or verified, also during bootstrapping and replays.

    HTTP handlers use `submit` and `snapshot`, and never need `Context.lock`.
    """

    transaction: ClassVar[Any] = bytes
    """The kind of transactions: `bytes`, a `Transaction` class, or a union of such classes."""

    limits: ClassVar[Limits] = Limits()

    upgrades: ClassVar[Sequence[str] | None] = ()

    config = ForHandlers[bytes]()
    """The chain's configuration on this node."""
    history = ForHandlers[History]()
    """The accepted blocks and their receipts."""
    accepted = ForHandlers[AcceptedState]()
    """The state after the last accepted block."""
    pool = ForHandlers[Mempool]()
    """The waiting transactions."""
    feed = ForHandlers[Feed[Block]]()
    """The accepted blocks from any height on, both stored and new."""
    listeners = ForHandlers["list[Callable[[Block], None]]"]()
    """Functions called with each accepted block, on the engine's thread. They must be quick."""
    admission_listeners = ForHandlers["list[Callable[[Pending], None]]"]()
    """Functions called with each admitted transaction, on the thread that submitted it."""

    _candidate: ClassVar[type[Candidate]] = Candidate
    _set_at_start: ClassVar[tuple[str, ...]] = (
        *("ctx", "config", "upgrade", "history", "accepted", "pool", "feed", "listeners"),
        *("admission_listeners", "_gossip", "_execution", "_checks", "_admission", "_builder", "_recent"),
        *("_mempool", "_chain_progress", "_worker", "_ending", "_followers"),
    )

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls._candidate = ContextCandidate if issubclass(cls, BuildBlockWithContext) else Candidate
        order = cls.__mro__
        if issubclass(cls, BuildBlockWithContext) and order.index(BuildBlockWithContext) < order.index(Chain):
            raise TypeError(f"{cls.__name__}: derive it from chain.Chain first, then from the interface")
        for name in ("transaction", "limits", "version"):
            if name not in vars(cls) and name in _annotations_of(cls):
                raise TypeError(
                    f"{cls.__name__}.{name} is annotated, but has no value: write `{name} = …` in the class"
                )
        if not isinstance(cls.transaction, Hashable):
            raise not_a_kind(cls.transaction)
        parser(cls.transaction)  # raises TypeError for an invalid one
        must_extend(cls, EXTENDED)
        cls._must_have_limits(cls.limits)

    @classmethod
    def _must_have_limits(cls, limits: object) -> None:
        if not isinstance(limits, Limits):
            raise TypeError(f"{cls.__name__}.limits is {limits!r}: set it to chain.Limits(…)")

    def __setattr__(self, name: str, value: object) -> None:
        execution = vars(self).get("_execution")
        if execution is not None:
            execution.must_not_keep(name)
            before = vars(self).get(name)
            if "_followers" in vars(self) and name in Chain._set_at_start and not _may_replace(before, value):
                other = f", or add to it: self.{name}.append(…)" if isinstance(before, list) else ""
                raise TypeError(
                    f"{type(self).__name__} sets {name}, an attribute that vmsdk's Chain needs: choose "
                    f"another name{other}"
                )
        super().__setattr__(name, value)

    @property
    def ctx(self) -> Context:
        """The chain's context. Rules can read only what is the same on all nodes, and the log."""
        attributes = vars(self)
        if "ctx" not in attributes:
            raise AttributeError(f"{type(self).__name__}.ctx is not set before initialize is called")
        ctx: Context = attributes["ctx"]
        execution: Execution | None = attributes.get("_execution")
        return ctx if execution is None else execution.context(ctx)

    @ctx.setter
    def ctx(self, ctx: Context) -> None:
        vars(self)["ctx"] = ctx

    @property
    def network(self) -> Network:
        """Sends messages to peers, and routes theirs."""
        execution: Execution | None = vars(self).get("_execution")
        if execution is not None:
            execution.must_not_run("network")
        return super().network

    # For handlers ---------------------------------------------------------------------------------

    def submit(self, tx: Any) -> ID:
        """Add a transaction, decoded or as bytes, to the mempool, and return its ID. Thread-safe.

        Raises `Invalid` if it breaks a rule, `MempoolFull` if there is no room. A transaction that
        is already in the mempool is not added again.
        """
        return self.admit(self._raw_of(tx), "local")

    def submit_many(self, txs: Iterable[Any]) -> list[ID | Refused]:
        """Submit several transactions, which are checked on all cores. Returns for each its ID, or
        the error that `submit` would raise.
        """
        if isinstance(txs, (bytes, str)) or not isinstance(txs, Iterable):
            raise TypeError(f"{type(self).__name__}.submit_many takes several transactions: pass a list")
        results: list[ID | Refused] = []
        fresh: list[Pending] = []
        for tx in txs:
            try:
                pending = self._decoded(self._raw_of(tx), "local")
            except Refused as error:
                results.append(error)
            else:
                results.append(pending.id)
                fresh.append(pending)
        failures = self._checks.many([each.id for each in fresh], [each.transaction for each in fresh])
        refused: dict[bytes, Refused] = {}
        try:
            for pending, failure in zip(fresh, failures, strict=True):
                try:
                    if failure is not None:
                        raise failure
                    self._add(pending)
                except Refused as error:
                    refused[pending.id] = error
        finally:  # even if a bug in the rules interrupts the loop
            self.ctx.notify()
        return [refused.get(each, each) if isinstance(each, ID) else each for each in results]

    @contextmanager
    def snapshot(self, *, pending: bool = False) -> Iterator[ChainState]:
        """A read-only snapshot of the last accepted state. Thread-safe.

        With *pending*, it includes the transactions in the mempool, for example to read a wallet's
        next nonce. Raises `SnapshotUnavailable` if too many snapshots are open, or when one that
        has been open for too long is read.
        """
        self._execution.must_not_run("snapshot")
        state: ChainState
        if pending:
            state, opened = self._admission.open_snapshot()
        else:
            state = opened = self.accepted.open_snapshot()
        try:
            yield state
        finally:
            opened.close()

    @property
    def last(self) -> Block:
        """The last accepted block."""
        self._execution.must_not_run("last")
        return self._chain_progress.last

    def blocks(self, start: int = 0, limit: int = 100) -> list[Block]:
        """At most *limit* accepted blocks from height *start* on."""
        self._execution.must_not_run("blocks")
        return self.history.blocks(start, limit)

    def receipt(self, transaction_id: ID) -> Receipt:
        """The receipt of a transaction. Raises `NotFound` unless it is in an accepted block."""
        self._execution.must_not_run("receipt")
        return self.history.receipt(_as_id(transaction_id))

    def events(
        self, topic: bytes | str, start: int = 0, stop: int | None = None, limit: int = 1_000
    ) -> list[LoggedEvent]:
        """At most *limit* events of *topic* in the accepted blocks from height *start* up to, but
        not including, *stop*.
        """
        self._execution.must_not_run("events")
        stop = self._chain_progress.last.height + 1 if stop is None else stop
        return self.history.events(as_topic(topic), start, stop, limit)

    def dropped(self, transaction_id: ID) -> str | None:
        """Why a transaction was removed from the mempool. None if it was not, or long ago."""
        self._execution.must_not_run("dropped")
        return self.pool.reason(_as_id(transaction_id))

    def decode(self, raw: bytes) -> Any:
        """The transaction in *raw*. Raises `Invalid` unless it is exactly one."""
        return parser(self.transaction)(raw)

    # Admission ------------------------------------------------------------------------------------

    def admit(self, raw: bytes, source: str) -> ID:
        """Add the transaction in *raw* to the mempool. *source* is `local` or `peer`.

        Raises `Invalid` or `MempoolFull`.
        """
        pending = self._decoded(raw, source)
        if pending.id not in self._mempool:
            self._checks.one(pending.id, pending.transaction)
            self._add(pending)
            self.ctx.notify()
        return pending.id

    def _raw_of(self, tx: Any) -> bytes:
        self._execution.must_not_run("submit")
        if self._ending.is_set():
            raise VMError("the chain is shutting down")
        try:
            raw = tx if isinstance(tx, bytes) else getattr(tx, "raw", None)
        except InvalidEncoding as error:  # a field has a value, perhaps a client's, of another type
            raise Invalid(str(error)) from None
        if isinstance(raw, bytes):
            return raw
        kind = getattr(self.transaction, "__name__", self.transaction)
        others = "" if self.transaction is bytes else f", or a {kind} whose `raw` is bytes"
        raise TypeError(f"{type(self).__name__}.submit takes bytes{others}, not a {type(tx).__name__}")

    def _decoded(self, raw: bytes, source: str) -> Pending:
        if len(raw) > self.limits.transaction_bytes:
            raise Invalid(f"a transaction has at most {self.limits.transaction_bytes} bytes", length=len(raw))
        transaction_id = ID.of(raw)
        waiting = self._mempool.get(transaction_id)
        if waiting is not None:
            return waiting
        if source != "local" and transaction_id in self._recent:
            raise Invalid("the transaction is in an accepted block", id=transaction_id)
        transaction = self.decode(raw)
        return Pending(
            transaction_id,
            raw,
            transaction,
            sender=_attribute(transaction, "sender", None, bytes, "bytes or None"),
            sequence=_attribute(transaction, "sequence", 0, int, "an int"),
            priority=_attribute(transaction, "priority", 0, int, "an int"),
            source=source,
        )

    def _add(self, pending: Pending) -> None:
        if pending.id not in self._mempool:
            self._admission.admit(pending)
            for listener in vars(self)["admission_listeners"]:
                try:
                    _must_have_run(listener, listener(pending))
                except Exception:
                    self.ctx.log.exception(
                        "%s failed for transaction %s, which stays in the mempool",
                        name_of(listener),
                        pending.id,
                    )

    def _gossip_admitted(self, pending: Pending) -> None:
        self._gossip.added(pending.id, pending.raw, push=pending.source != "peer")

    def knows(self, transaction_id: ID) -> bool:
        """Whether the transaction is in the mempool or was accepted recently. Thread-safe."""
        return transaction_id in self.pool or transaction_id in self._recent

    def _next_header(self, parent: Block, p_chain_height: int | None = None) -> Header:
        header = parent.header
        now = max(self._now_ms(), header.timestamp)
        return Header(parent.id, header.height + 1, now, p_chain_height)

    def _now_ms(self) -> int:
        return now_ns() // 1_000_000

    # Lifecycle ------------------------------------------------------------------------------------

    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        limits = self.limits
        self._must_have_limits(limits)
        if "_execution" not in vars(self):
            must_not_hold(self)
        vars(self).pop("_followers", None)  # once this is set again, below, `__setattr__` is strict
        self.ctx = ctx
        self.config = config
        self.upgrade = upgrade
        self.history = History(ctx.db, blocks=limits.blocks, receipts=limits.receipts)
        self.accepted = AcceptedState(
            ctx.db,
            cache_bytes=limits.cache_bytes,
            max_snapshots=limits.snapshots,
            snapshot_seconds=limits.snapshot_seconds,
            snapshot_commits=limits.snapshot_blocks,
        )
        self.pool = Mempool(
            max_transactions=limits.mempool_transactions,
            max_bytes=limits.mempool_bytes,
            max_written=max(limits.mempool_bytes, limits.written_bytes),
            max_per_sender=limits.mempool_per_sender,
            seconds=limits.mempool_seconds,
        )
        self._mempool = self.pool  # without the check of `ForHandlers`
        self.feed = Feed(self.history.blocks, lambda: self.last.height)
        self.listeners = [self.feed.publish]
        self.admission_listeners = [self._gossip_admitted]
        self._gossip = transaction_gossip(self.network, self.pool, self.admit, self.knows)
        ctx.metrics.register_own(ChainMetrics(self.pool, self.accepted, self._gossip))
        self._execution = Execution(self, self.transaction, ctx.chain_id, limits.written_bytes)
        self._checks = Checks(self._execution.check)
        self._admission = Admission(
            self.accepted,
            self.pool,
            begin=lambda state: self._execution.begin(state, self._next_header(self._chain_progress.last)),
            run=lambda state, pending: self._execution.run(
                state, pending.transaction, pending.raw, self._next_header(self._chain_progress.last)
            ),
        )
        self._builder = Builder(
            ctx, limits, self._execution, self.pool, self._admission, lambda: self._chain_progress.last
        )
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vmsdk-chain")
        self._ending = threading.Event()
        self._chain_progress = _Progress(self._load(genesis))
        followers: Any = self.followers()
        self._followers = tuple(followers) if isinstance(followers, Iterable) else (followers,)
        if not all(isinstance(each, Follower) for each in self._followers):
            raise TypeError(
                f"{type(self).__name__}.followers returned {followers!r}: return a list or tuple of Followers"
            )
        for follower in self._followers:
            follower.start(self.feed, ctx.log)

    def _load(self, genesis: bytes) -> Block:
        genesis_hash = ID.of(genesis)
        last_id = self.history.last_id()
        if last_id is not None:
            if self.history.block_at(0).parent_id != genesis_hash:
                raise VMError(
                    f"the stored chain was created with a different genesis from these {len(genesis)} "
                    "bytes: start it with its own genesis, or with an empty database"
                )
            last = self.history.block(last_id)
            try:
                for raw in last.transactions:
                    self.decode(raw)
            except Invalid as error:
                raise VMError(
                    f"the stored block at height {last.height} has a transaction that this code can't decode "
                    f"({error}), so no other node could follow the chain: keep the encoding of existing "
                    "transactions, and give new kinds another tag; or start with an empty database"
                ) from None
            self._compare_limits()
            return last
        state = Overlay(self.accepted)
        self._execution.genesis(state, genesis)
        executed = Executed(state, Outcomes(events=(tuple(state.events),)))
        block = Block(Header(genesis_hash, height=0, timestamp=0), executed.effects, ())
        with self.accepted.commit(executed.state.writes) as batch:
            self.history.add(batch, block, executed.outcomes)
            batch.put(_LIMITS, self.limits.rules)
        return block

    def _compare_limits(self) -> None:
        limits = self.limits
        stored = self.ctx.db.get(_LIMITS)
        before = stored or b""
        for warning in limits.changes(before):
            self.ctx.log.warning("%s.limits: %s", type(self).__name__, warning)
        # A lowered limit is not stored: the older blocks remain, and so does the warning.
        highest = limits.highest(before)
        if highest != stored:
            self.ctx.db.put(_LIMITS, highest)

    def set_state(self, state: State) -> None:
        self._chain_progress.is_normal = state is State.NORMAL_OP
        if self._chain_progress.is_normal:
            self._gossip.start()

    def shutdown(self) -> None:
        self._ending.set()
        self.feed.close()
        for follower in self._followers:
            follower.stop()
        self._gossip.stop()
        self._worker.shutdown(cancel_futures=True)
        self._checks.close()
        super().shutdown()

    def health_check(self) -> Any:
        self.accepted.settled()
        return {"height": self._chain_progress.last.height, "waiting": len(self.pool)}

    # Blocks ---------------------------------------------------------------------------------------

    def last_accepted(self) -> ID:
        self._execution.must_not_run("last_accepted")
        return self._chain_progress.last.id

    def get_block(self, block_id: ID) -> Candidate:
        if block_id == self._chain_progress.last.id:
            return self._candidate(self, self._chain_progress.last)
        return self._candidate(self, self.history.block(block_id))

    def get_block_id_at_height(self, height: int) -> ID:
        return self.history.block_at(height).id

    def parse_block(self, data: bytes) -> Candidate:
        if len(data) > self.limits.block_bytes:
            raise InvalidBlock(f"{len(data)} bytes exceed the limit of {self.limits.block_bytes}")
        return self._candidate(self, Block.from_bytes(data))

    def get_ancestors(
        self, block_id: ID, max_blocks: int, max_size: int, max_seconds: float
    ) -> Sequence[bytes]:
        deadline = time.monotonic() + max_seconds
        found: list[bytes] = []
        with suppress(NotFound):
            for raw in islice(self._raw_ancestors(block_id, max_blocks, max_size), max_blocks):
                max_size -= len(raw) + 4
                if found and (max_size < 0 or time.monotonic() > deadline):
                    break
                found.append(raw)
        return found

    def _raw_ancestors(self, block_id: ID, max_blocks: int, max_size: int) -> Iterator[bytes]:
        """A block and its ancestors, of which the stored ones are read in pages."""
        block = self.ctx.get_block(block_id)
        while block.height > self._chain_progress.last.height:
            yield block.raw
            max_size -= len(block.raw)
            block = self.ctx.get_block(block.parent_id)
        height, length = block.height, len(block.raw)
        while height >= 0:
            # As many as would fit if all were as large as the last one.
            count = min(ANCESTORS_PER_READ, max_blocks, max(max_size, 0) // length + 1)
            raws = self.history.raw_before(height, count)
            yield from raws
            if len(raws) < count:
                return
            height, length, max_size = height - count, len(raws[-1]), max_size - sum(map(len, raws))

    # Building -------------------------------------------------------------------------------------

    def has_pending_work(self) -> bool:
        self._execution.must_not_run("has_pending_work")
        return self._builder.has_work()

    def build_block(self) -> Candidate:
        return self.build_block_with_context(None)

    def build_block_with_context(self, p_chain_height: int | None) -> Candidate:
        """Replaces `build_block` if the chain is also a `BuildBlockWithContext`."""
        tip = self.ctx.preferred
        header = self._next_header(tip.block, p_chain_height)
        block, executed = self._builder.build(tip, self._state_after(tip), header)
        return self._candidate(self, block, executed)

    def _state_after(self, block: Candidate) -> ChainState:
        if block.id == self._chain_progress.last.id:
            self.accepted.settled()  # raises if a block could not be stored
            return self.accepted
        if block.executed is None:
            raise InvalidBlock(f"block {block.id} is neither undecided nor the last accepted one")
        return block.executed.state

    # Deciding -------------------------------------------------------------------------------------

    def _verify(self, candidate: Candidate, p_chain_height: int | None) -> None:
        block = candidate.block
        header = block.header
        try:
            parent: Candidate = self.ctx.get_block(block.parent_id)
        except NotFound:
            raise InvalidBlock(f"its parent {block.parent_id} is unknown") from None
        self._check_header(block, parent.block, p_chain_height)
        base = self._state_after(parent)
        if candidate.executed is not None and candidate.executed.state.parent is base:
            return  # built here, on the same state
        transactions = self._decode_all(block)
        executed = self._execution.block(base, block, transactions)
        if executed.effects != block.effects:
            # Once for each height: a builder may retry often.
            is_new = self._chain_progress.differed_at != header.height
            self._chain_progress.differed_at = header.height
            self.ctx.log.log(
                logging.ERROR if is_new else logging.DEBUG,
                "nondeterminism: block %s at height %d has different effects here (0x%s) from where it "
                "was built (0x%s). Either its builder has a different version of the plugin or a different "
                "upgrade file (update the older one), or it is faulty, or execute depends on more than its "
                "arguments: look for clocks, randomness, sets, hash(), floats, and state kept on self",
                block.id,
                block.height,
                executed.effects.hex(),
                block.effects.hex(),
            )
            raise InvalidBlock("its effects differ from those of executing it here: nondeterminism")
        candidate.executed = executed

    def _check_header(self, block: Block, parent: Block, p_chain_height: int | None) -> None:
        header = block.header
        if header.height != parent.height + 1:
            raise InvalidBlock(f"height {header.height} does not follow the parent's {parent.height}")
        if header.timestamp < parent.timestamp:
            raise InvalidBlock(f"time {header.timestamp} ms is before the parent's {parent.timestamp} ms")
        latest = self._now_ms() + self.limits.future_ms
        if self._chain_progress.is_normal and header.timestamp > latest:
            raise InvalidBlock(
                f"time {header.timestamp} ms is in the future: at most {latest} ms by this node's clock"
            )
        if header.p_chain_height != p_chain_height:
            raise InvalidBlock(
                f"P-chain height {header.p_chain_height}, but the node verifies it at {p_chain_height}"
            )
        if not block.transactions:
            raise InvalidBlock("a block has at least one transaction")
        longest = max(map(len, block.transactions))
        if longest > self.limits.transaction_bytes:
            raise InvalidBlock(
                f"a transaction of {longest} bytes exceeds the limit of {self.limits.transaction_bytes}"
            )

    def _decode_all(self, block: Block) -> list[Any]:
        transactions = []
        for index, raw in enumerate(block.transactions):
            waiting = self._mempool.get(block.transaction_ids[index])
            try:
                transactions.append(self.decode(raw) if waiting is None else waiting.transaction)
            except Invalid as error:
                raise InvalidBlock(f"transaction {index} can't be decoded: {error}") from None
        for failure in self._checks.many(block.transaction_ids, transactions):
            if isinstance(failure, Invalid):
                raise InvalidBlock(f"a transaction is invalid: {failure}") from None
            if failure is not None:
                raise failure
        return transactions

    def _accept(self, candidate: Candidate) -> None:
        block, executed = candidate.block, candidate.executed
        if executed is None:
            raise VMError(f"block {block.id} is accepted, but was not verified")
        with self.accepted.commit(executed.state.writes) as batch:
            self.history.add(batch, block, executed.outcomes)
        self._chain_progress.last = block
        candidate.executed = None
        for other in self.ctx.processing:
            if other.executed is not None and other.executed.state.parent is executed.state:
                other.executed.state.parent = self.accepted
        foreign = []
        for transaction_id, transaction in zip(block.transaction_ids, executed.transactions, strict=True):
            pending = self._mempool.remove(transaction_id, "accepted")
            if pending is None or pending.is_parked:
                foreign.append(transaction)
            self._recent[transaction_id] = None
        while len(self._recent) > MAX_RECENT_TRANSACTIONS:
            self._recent.popitem(last=False)
        if foreign:
            has_parked = self.pool.ready < len(self.pool)
            senders = {_sender_of(each) for each in foreign} if has_parked else set()
            self._admission.overtaken(executed.state.writes.keys(), senders)
            if len(self.pool):
                self._later(self._refresh)
        if self.limits.blocks is not None or self.limits.receipts is not None:
            self._later(self._prune, block.height)
        self._announce(block)

    def _announce(self, block: Block) -> None:
        for listener in (*self.listeners, self.on_accept):
            try:
                _must_have_run(listener, listener(block))
            except KeyboardInterrupt:
                raise
            except BaseException:  # such as SystemExit: the block is already stored
                self.ctx.log.exception(
                    "%s failed for block %s; the chain continues", name_of(listener), block.id
                )

    def _reject(self, candidate: Candidate) -> None:
        candidate.executed = None
        lost = [
            raw
            for transaction_id, raw in zip(
                candidate.block.transaction_ids, candidate.block.transactions, strict=True
            )
            if transaction_id not in self.pool and transaction_id not in self._recent
        ]
        if lost:
            self._later(self._readmit, lost)
        else:
            self.ctx.notify()

    # On the worker --------------------------------------------------------------------------------

    def _later(self, work: Callable[..., None], *arguments: Any) -> None:
        if not self._ending.is_set():
            self._worker.submit(self._logged, work, *arguments)

    def _logged(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception:
            if not self._ending.is_set():
                self.ctx.log.exception("%s failed; the chain continues", name_of(work))

    def _prune(self, height: int) -> None:
        needed = [each.needed for each in self._followers]
        known = [each for each in needed if each is not None]
        if len(known) == len(needed):
            self.history.prune(height, known)

    def _refresh(self) -> None:
        self._admission.refresh()
        self.ctx.notify()

    def _readmit(self, raws: Iterable[bytes]) -> None:
        for raw in raws:
            if self._ending.is_set():
                return
            try:
                self.admit(raw, "peer")
            except VMError as error:
                self.ctx.log.debug("a transaction of a rejected block is not admitted again: %s", error)
            except Exception:  # must not stop the others
                self.ctx.log.exception("the rules failed for a transaction of a rejected block")
        self.ctx.notify()


def _may_replace(old: object, value: object) -> bool:
    """Whether an author may replace vmsdk's attribute *old* by *value*: by itself, as in
    `self.ctx = ctx`, by a longer list, or in a test by a mock and back.
    """
    if isinstance(old, list):
        is_allowed = isinstance(value, list) and all(each in value for each in old)
    else:
        is_allowed = isinstance(old, Context) and isinstance(value, Context)
    return value is old or is_allowed or "unittest.mock" in (type(old).__module__, type(value).__module__)


def _sender_of(transaction: Any) -> Any:
    """The sender of a transaction in an accepted block, for which an error must not matter."""
    try:
        return _attribute(transaction, "sender", None, bytes, "bytes or None")
    except Exception:  # noqa: BLE001 - then the transaction was never in this mempool
        return None


def _annotations_of(cls: type) -> Container[str]:
    try:
        return cls.__annotations__
    except Exception:  # noqa: BLE001 - from Python 3.14 on, whatever the annotations evaluate
        return ()


def _as_id(value: ID) -> ID:
    if isinstance(value, bytes):
        return value
    raise TypeError(f"{value!r} is not the ID of a transaction: for its text, use vmsdk.ID.from_string(text)")


def _attribute(transaction: Any, name: str, default: Any, kind: type, expected: str) -> Any:
    """An attribute of a transaction that the mempool uses, which may be missing."""
    try:
        value = getattr(transaction, name)
    except AttributeError:
        if hasattr(type(transaction), name):  # raised within a property
            raise
        return default
    if value is default or isinstance(value, kind):
        return value
    raise TypeError(f"{type(transaction).__name__}.{name} is {value!r}, but must be {expected}")


def _must_have_run(listener: Callable[..., object], result: object) -> None:
    """Raise `TypeError` if *listener* is a coroutine function or a generator function."""
    if isinstance(result, (types.CoroutineType, types.GeneratorType)):
        result.close()
        raise TypeError(f"{name_of(listener)} returned a {type(result).__name__}: make it a plain function")
