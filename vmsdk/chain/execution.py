"""The rules of a chain, which its author writes, and their execution."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from vmsdk.chain.block import Block, Event, Header, effects_of
from vmsdk.chain.encoding import is_immutable
from vmsdk.chain.errors import Invalid
from vmsdk.chain.history import Outcomes
from vmsdk.chain.state import Overlay, State
from vmsdk.chain.transactions import parser
from vmsdk.context import Context
from vmsdk.errors import InvalidBlock, VMError
from vmsdk.ids import ID
from vmsdk.interface import Interface

# What rules may read of the context: what is the same on all nodes, and the log.
RULES_CONTEXT = frozenset(
    [
        *("network_id", "subnet_id", "chain_id", "x_chain_id", "c_chain_id", "avax_asset_id"),
        *("upgrades", "network_upgrades", "validators", "shared_memory", "log", "metrics"),
    ]
)

_T = TypeVar("_T")


class Rules(Interface):
    """The methods of a chain that must have the same result on all nodes.

    They run on several threads, and more than once for each transaction: they must depend only on
    their arguments, and must not set attributes.
    """

    @abstractmethod
    def execute(self, state: State, tx: Any, block: Header) -> bytes | None:
        """Apply one transaction to *state*. Bytes that it returns are stored in the receipt.

        Raise `Invalid` if the transaction breaks a rule: its changes are dropped, and no block may
        contain it.
        """

    def genesis(self, state: State, data: bytes) -> None:
        """Fill the state of a new chain from the genesis *data*. Does nothing by default."""

    def check(self, tx: Any) -> None:
        """Check what needs no state, once for each transaction. Raise `Invalid` to refuse it."""

    def begin(self, state: State, block: Header) -> None:
        """Called before the first transaction of each block."""

    def end(self, state: State, block: Header) -> None:
        """Called after the last transaction of each block."""


class Executed:
    """The result of a block's transactions on top of its parent's state."""

    def __init__(self, state: Overlay, outcomes: Outcomes, transactions: Sequence[Any] = ()) -> None:
        self.transactions = transactions
        """The block's transactions, decoded."""
        self.effects = effects_of(state.writes, outcomes.results, outcomes.events)
        self.state = Overlay(state.parent, state.writes)
        state.end()  # the rules may have kept a reference to it
        self.outcomes = outcomes


class Execution:
    """Runs the methods of *rules*, on any thread."""

    def __init__(self, rules: Rules, transaction: Any, chain_id: ID, written_bytes: int) -> None:
        self._rules = rules
        # Changes that one execution makes to a transaction must not affect another one.
        self._decode = None if is_immutable(transaction) else parser(transaction)
        self._written_bytes = written_bytes
        self._chain_id = chain_id
        self._name = type(rules).__name__
        self._running = _Running()

    def check(self, transaction: Any) -> None:
        """Check a transaction by its own `check`, if it has one, and by that of the rules."""
        _keys_of(transaction)  # raises at admission, rather than in each block
        own = getattr(transaction, "check", None)
        if own is not None:
            _call(own, self._chain_id)
        self._running.method = "check"
        try:
            _call(self._rules.check, transaction)
        finally:
            self._running.method = ""

    def genesis(self, state: State, data: bytes) -> None:
        """Fill the state of a new chain."""
        with self._method("genesis", state):
            _call(self._rules.genesis, state, data)

    def begin(self, state: State, header: Header) -> None:
        """Begin a block."""
        with self._method("begin", state):
            _call(self._rules.begin, state, header)

    def run(self, state: Overlay, transaction: Any, raw: bytes, header: Header) -> bytes | None:
        """Execute one transaction, decoded from *raw*.

        Raises what `execute` raises, and `Invalid` if the transaction writes too much. *state* may
        be changed even then.
        """
        _forget_claims(state)
        before = state.written
        if self._decode is not None:
            transaction = self._decode(raw)
        self._running.method = "execute"
        try:
            result: object = self._rules.execute(state, transaction, header)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise _bug(self._rules.execute, error) from error
        finally:
            self._running.method = ""
        if result is None or type(result) is bytes:
            if result:
                state.written += len(result)
            if state.written - before > self._written_bytes:
                raise Invalid(
                    f"a transaction writes at most {self._written_bytes} bytes of keys, values, events and "
                    "results (chain.Limits.written_bytes)",
                    written=state.written - before,
                )
            return result
        raise TypeError(
            f"{self._name}.execute returned {result!r}: return None, or bytes for the receipt; "
            "raise Invalid to refuse a transaction"
        )

    def end(self, state: State, header: Header) -> None:
        """End a block."""
        with self._method("end", state):
            _call(self._rules.end, state, header)

    def block(self, base: State, block: Block, transactions: Sequence[Any]) -> Executed:
        """Execute a whole block on *base*. Raises `InvalidBlock` if a rule is broken."""
        header = block.header
        keys = [key for each in transactions for key in _keys_of(each)]
        if keys:
            base.get_many(keys)  # fills the cache in one call
        state = Overlay(base)
        try:
            self.begin(state, header)
        except Invalid as error:
            raise InvalidBlock(f"{self._name}.begin refuses it: {error}") from None
        block_events, state.events, state.written = state.events, [], 0
        results: list[bytes | None] = []
        events: list[tuple[Event, ...]] = []
        for index, transaction in enumerate(transactions):
            try:
                results.append(self.run(state, transaction, block.transactions[index], header))
            except Invalid as error:
                raise InvalidBlock(
                    f"transaction {index}, {block.transaction_ids[index]}, is invalid: {error}"
                ) from None
            if state.written > self._written_bytes:
                raise InvalidBlock(f"its transactions write more than {self._written_bytes} bytes")
            events.append(tuple(state.events))
            state.events = []
        try:
            self.end(state, header)
        except Invalid as error:
            raise InvalidBlock(f"{self._name}.end refuses it: {error}") from None
        block_events += state.events
        return Executed(state, Outcomes(tuple(results), (*events, tuple(block_events))), transactions)

    def must_not_run(self, call: str) -> None:
        """Raise `VMError` if a rule runs in this thread: it must not use *call*."""
        if self._running.method:
            raise VMError(
                f"{self._name}.{call} is for handlers, but {self._running.method} uses it: the "
                "rules depend on their arguments alone"
            )

    def context(self, ctx: Context) -> Context:
        """*ctx*, or a restricted view of it if a rule runs in this thread."""
        return _RulesContext(self, ctx) if self._running.method else ctx  # type: ignore[return-value]

    def must_not_keep(self, name: str) -> None:
        """Raise `VMError` if a rule runs in this thread: it must not set an attribute."""
        if self._running.method:
            raise VMError(
                f"{self._name}.{self._running.method} sets self.{name}, but rules run more than once for "
                "each transaction, and on several threads: keep it in the state"
            )

    @contextmanager
    def _method(self, name: str, state: State) -> Iterator[None]:
        _forget_claims(state)
        self._running.method = name
        try:
            yield
        finally:
            self._running.method = ""


class ForHandlers(Generic[_T]):
    """An attribute of a chain that rules must not read, because it differs between nodes."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, chain: Any, owner: type | None = None) -> _T:
        if chain is None:
            return self  # type: ignore[return-value]
        attributes = vars(chain)
        if "_execution" in attributes:  # set by `initialize`
            attributes["_execution"].must_not_run(self._name)
        try:
            return attributes[self._name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(
                f"{type(chain).__name__}.{self._name} is not set before initialize has run"
            ) from None

    def __set__(self, chain: Any, value: _T) -> None:
        vars(chain)[self._name] = value


class _RulesContext:
    def __init__(self, execution: Execution, ctx: Context) -> None:
        self._execution = execution
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        if name not in RULES_CONTEXT:
            self._execution.must_not_run(f"ctx.{name}")
        return getattr(self._ctx, name)


class _Running(threading.local):
    """The method of the rules that runs in this thread."""

    method = ""


def _forget_claims(state: State) -> None:
    """Forget which tables were used, before a method of the rules runs.

    Tables that share keys are an error only within one call of `execute`, `begin`, `end` or
    `genesis`. If earlier calls counted, the builder of a block, which also runs transactions that
    it then leaves out, and its verifiers could get different results.
    """
    state.claims = {}


def _call(method: Callable[..., object], *arguments: Any) -> None:
    """Call a method of the author's that should return None."""
    try:
        result = method(*arguments)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _bug(method, error) from error
    if result is not None:
        raise TypeError(
            f"{name_of(method)} returned {result!r}, but its result is not used: raise Invalid to refuse a "
            "transaction, and write to the state to change it"
        )


def _bug(method: Callable[..., object], error: BaseException) -> RuntimeError:
    """The error for an exception such as `SystemExit`, which would end a thread or the process."""
    return RuntimeError(f"{name_of(method)} raised {error!r}: raise Invalid to refuse a transaction")


def name_of(function: Callable[..., object]) -> str:
    """The name of a function for a message."""
    return getattr(function, "__qualname__", repr(function))


def _keys_of(transaction: Any) -> Iterable[bytes]:
    keys: Any = getattr(transaction, "keys", None)
    if keys is None:
        return ()
    found = keys() if callable(keys) else keys
    if isinstance(found, Iterable) and not isinstance(found, (bytes, str)):
        found = list(found)
        if all(isinstance(each, bytes) for each in found):
            return found
    raise TypeError(
        f"{type(transaction).__name__}.keys is {found!r}: make it a list of keys of the state, in bytes"
    )
