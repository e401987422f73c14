"""The virtual machine as an author writes it."""

from __future__ import annotations

import logging
import threading
import types
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple, cast

from vmsdk.block import Block
from vmsdk.context import Context
from vmsdk.errors import AppError
from vmsdk.ids import ID, NodeID
from vmsdk.interface import Interface, likely_slips, must_derive
from vmsdk.state import Event, State
from vmsdk.statesync import StateSyncableVM
from vmsdk.timestamp import Timestamp

_log = logging.getLogger("vmsdk")
_METHODS = (types.FunctionType, classmethod, staticmethod)


class NodeVersion(NamedTuple):
    """The client that a peer runs, and its version."""

    name: str
    """`avalanchego` or `metalgo`."""
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.name}/{self.major}.{self.minor}.{self.patch}"


class _NoContext:
    """What `ChainVM.ctx` is until vmsdk sets it."""

    def __get__(self, vm: object, kind: type) -> Any:
        if vm is None:
            return self
        raise AttributeError(
            f"{kind.__name__}.ctx is set when the node starts the chain: use it in `initialize` or later, "
            "not in `__init__`"
        )


class ChainVM(Interface):
    """A blockchain virtual machine. One object serves one chain, in its own process.

    The node calls one engine method at a time, with `Context.lock` held; up to two `app_…` methods
    run at the same time as the engine. Methods that are not abstract have a working default. Those
    annotated with `-> None` must return None, and none may be `async`.
    """

    name: ClassVar[str] = ""
    """1 to 32 ASCII characters. By default the class's name in lower case."""

    version: ClassVar[str] = "0.0.0"
    """The VM's own version, any text: shown in the node's log and by `info.getVMs`."""

    upgrades: ClassVar[Sequence[str] | None] = None
    """The names of all upgrades that the code knows, past ones included. vmsdk then reads the
    chain's upgrade file into `Context.upgrades`, and refuses one that names any other or changes
    the past. With None, the VM has to interpret the file itself.
    """

    ctx: Context = cast(Context, _NoContext())
    """Set by vmsdk before `initialize` is called."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        if vars(cls).get("upgrades"):
            from vmsdk.upgrades import check_names

            check_names(cls.__name__, cls.upgrades)
        for attribute in ("name", "version"):
            value = vars(cls).get(attribute, "")
            is_descriptor = hasattr(type(value), "__get__") and not isinstance(value, _METHODS)
            if not isinstance(value, str) and not is_descriptor:
                text = f"a {type(value).__name__}" if callable(value) else repr(value)
                raise TypeError(
                    f"{cls.__name__}.{attribute} is {text}: make it a str, such as {attribute} = "
                    f"{_EXAMPLES[attribute]!r}"
                )

    # A chain's life ------------------------------------------------------------------------------

    @abstractmethod
    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        """Load the stored chain, or store the genesis block as accepted if there is none yet.

        *ctx* is also `self.ctx`. *genesis* comes from the transaction that created the chain;
        *upgrade* and *config* come from the node's configuration of the chain, and are empty
        without one. If the class declares `upgrades`, `ctx.upgrades` has the content of *upgrade*.
        An exception keeps the chain from starting, and its text appears in the node's log.
        """

    def set_state(self, state: State) -> None:
        """Called when the node enters another phase of the chain. Does nothing by default."""

    def shutdown(self) -> None:
        """Save what must survive, and release resources: the database is gone after this."""

    # Blocks ---------------------------------------------------------------------------------------

    @abstractmethod
    def last_accepted(self) -> ID:
        """The ID of the last accepted block; of the genesis block if nothing else was accepted."""

    @abstractmethod
    def get_block(self, block_id: ID) -> Block:
        """An accepted block. Raise `NotFound` for any other: unknown IDs are routine.

        vmsdk remembers blocks that are verified but undecided, and never asks for them.
        """

    @abstractmethod
    def parse_block(self, data: bytes) -> Block:
        """The block in *data*, which may be any bytes from a peer. Raise `InvalidBlock` if it is
        not one.

        Must not depend on the parent or the state, and must parse every block of the chain's
        history.
        """

    @abstractmethod
    def build_block(self) -> Block:
        """A new block on `Context.preferred`. Raise `NothingToBuild` if there is no work.

        The node verifies the block next, so this method must not do what `Block.verify` does.
        """

    def set_preference(self, block_id: ID) -> None:
        """Called when `Context.preferred` changes. Does nothing by default.

        An exception stops the chain for good.
        """

    @abstractmethod
    def get_block_id_at_height(self, height: int) -> ID:
        """The accepted block at *height*. Raise `NotFound` if there is none, or it is pruned."""

    # Events ---------------------------------------------------------------------------------------

    def has_pending_work(self) -> bool:
        """Whether a block should be built now. Called often, with `Context.lock` held: be quick.

        Call `Context.notify` when the result may have changed. Don't count work that is in a block
        of `Context.processing`, or it would be built twice.
        """
        return False

    def wait_for_event(self, cancelled: threading.Event) -> Event | None:
        """Override to report events yourself; `has_pending_work` is enough for nearly every VM.

        Block until there is an event, or until *cancelled* is set, which happens often; only then
        is this method called again. Keep reporting an event until it is resolved, since the node
        may drop it. None leaves the decision to vmsdk.
        """
        return None

    # HTTP -----------------------------------------------------------------------------------------

    def create_handlers(self) -> Mapping[str, Any]:
        """The chain's HTTP handlers by path below `/ext/bc/<chain>`, such as `""` or `"/rpc"`.

        Each is an ASGI app, a WSGI app, or a `vmsdk.http.JSONRPC` service. A path matches as a
        whole, unless it ends in a template segment such as `/{rest:.*}`.
        """
        return {}

    def new_http_handler(self) -> Any:
        """The handler for requests that name the chain in a header, or None (from protocol 41)."""
        return None

    # Health ---------------------------------------------------------------------------------------

    def health_check(self) -> Any:
        """Details for the node's health page: any JSON value. Raise if the chain is unhealthy."""
        return None

    # Peers ----------------------------------------------------------------------------------------

    def connected(self, node_id: NodeID, version: NodeVersion) -> None:
        """Called when a peer that tracks this chain's subnet connects, and for this node itself."""

    def disconnected(self, node_id: NodeID) -> None:
        """Called when a peer disconnects, or is ignored because it is slow."""

    def app_request(
        self, node_id: NodeID, request_id: int, deadline: Timestamp, request: bytes
    ) -> bytes | None:
        """Handle a peer's request: return the response, or None to send it later by
        `Context.sender`.

        Raise `AppError` to refuse. Nobody waits for a response after *deadline*.
        """
        raise AppError(AppError.UNREGISTERED_HANDLER, "unregistered handler")

    def app_request_failed(self, node_id: NodeID, request_id: int, error: AppError) -> None:
        """Called when a request of this VM got no response, for the reason *error*."""

    def app_response(self, node_id: NodeID, request_id: int, response: bytes) -> None:
        """Called with the response to a request of this VM."""

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        """Called with a message that a peer gossips, which may be any bytes."""


class BuildBlockWithContext(Interface):
    """Optional interface of a `ChainVM`: building at a P-chain height."""

    @abstractmethod
    def build_block_with_context(self, p_chain_height: int) -> Block:
        """Like `ChainVM.build_block`, at this P-chain height."""


class BatchedParseBlock(Interface):
    """Optional interface of a `ChainVM`: parsing many blocks at once."""

    @abstractmethod
    def batched_parse_block(self, data: Sequence[bytes]) -> Sequence[Block]:
        """The blocks in *data*, one for each element, in order. One bad element fails the call."""


class GetAncestors(Interface):
    """Optional interface of a `ChainVM`: looking up a run of ancestors at once."""

    @abstractmethod
    def get_ancestors(
        self, block_id: ID, max_blocks: int, max_size: int, max_seconds: float
    ) -> Sequence[bytes]:
        """The bytes of a block, then of its parent, and so on; empty if the block is unknown.

        Return at most *max_blocks* (1 or more), stop before the lengths plus 4 for each block
        exceed *max_size* bytes, and stop after *max_seconds*. The first block is always returned.
        """


class CrossChainVM(Interface):
    """Optional interface of a `ChainVM`: messages between a node's chains (protocols 35, 36)."""

    @abstractmethod
    def cross_chain_app_request(
        self, chain_id: ID, request_id: int, deadline: Timestamp, request: bytes
    ) -> bytes | None:
        """Like `ChainVM.app_request`, from another chain."""

    @abstractmethod
    def cross_chain_app_request_failed(self, chain_id: ID, request_id: int, error: AppError) -> None:
        """Like `ChainVM.app_request_failed`, for a request to another chain."""

    @abstractmethod
    def cross_chain_app_response(self, chain_id: ID, request_id: int, response: bytes) -> None:
        """Like `ChainVM.app_response`, from another chain."""


@cache  # to warn once
def check_interfaces(kind: type[ChainVM]) -> None:
    """Raise `TypeError` if *kind*, the class that a plugin serves, has a method of an optional
    interface but doesn't derive from it. Warns about methods that vmsdk seems never to call.
    """
    for method, meant in likely_slips(kind):
        _log.warning("%s: vmsdk never calls this method; if %s is meant, rename it", method, meant)
    must_derive(kind, StateSyncableVM, BuildBlockWithContext, BatchedParseBlock, GetAncestors, CrossChainVM)


_EXAMPLES = {"name": "tokens", "version": "1.0.0"}
"""Values to show in errors."""
