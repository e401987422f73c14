"""The virtual machine as an author writes it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from vmsdk.block import Block
from vmsdk.context import Context
from vmsdk.errors import AppError
from vmsdk.events import Event
from vmsdk.ids import ID, NodeID
from vmsdk.state import State
from vmsdk.timestamp import Timestamp


class NodeVersion(NamedTuple):
    """What a peer says of itself."""

    name: str
    """The client's name: `avalanchego` or `metalgo`."""
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.name}/{self.major}.{self.minor}.{self.patch}"


class ChainVM(ABC):
    """A blockchain virtual machine. One object serves one chain, in a process of its own.

    The node calls one engine method at a time, with `Context.lock` held; `app_…` methods run beside
    them, two at a time. Methods not marked abstract have a working default.
    """

    name: ClassVar[str] = ""
    """What the VM is called, 1 to 32 ASCII characters: by default the class's name in lower case."""

    version: ClassVar[str] = "0.0.0"
    """The VM's own version, free text: shown in the node's log and by `info.getVMs`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    # A chain's life ------------------------------------------------------------------------------

    @abstractmethod
    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        """Read the stored chain, or store the genesis block as accepted when there is none yet.

        *genesis* comes from the transaction that made the chain; *upgrade* and *config* from the
        node's configuration of the chain, empty when there is none. An exception keeps the chain
        from starting, and its text is what the node's log says.
        """

    def set_state(self, state: State) -> None:
        """The node begins another phase of the chain's life. Nothing by default."""

    def shutdown(self) -> None:
        """Write what must survive and free what is held: the database is gone after this."""

    # Blocks ----------------------------------------------------------------------------------------

    @abstractmethod
    def last_accepted(self) -> ID:
        """The ID of the last accepted block: the genesis block's before any other."""

    @abstractmethod
    def get_block(self, block_id: ID) -> Block:
        """An accepted block. Raise `NotFound` for any other: unknown IDs are routine.

        Blocks that are verified but not decided are vmsdk's to remember; you aren't asked for them.
        """

    @abstractmethod
    def parse_block(self, data: bytes) -> Block:
        """The block in *data*, which may be anything that a peer sent. Raise `InvalidBlock`.

        Must not depend on the parent or the state, and must take every block of the chain's history.
        """

    @abstractmethod
    def build_block(self) -> Block:
        """A new block on the preferred one. Raise `NothingToBuild` when there is no work.

        The node verifies it next, so building changes nothing that verifying must do.
        """

    @abstractmethod
    def set_preference(self, block_id: ID) -> None:
        """Build on this block from now on: a verified one, or the last accepted.

        An exception stops the chain for good.
        """

    @abstractmethod
    def get_block_id_at_height(self, height: int) -> ID:
        """The accepted block at *height*. Raise `NotFound` above the last accepted, or if pruned."""

    # Events ----------------------------------------------------------------------------------------

    def has_pending_work(self) -> bool:
        """Whether a block should be built now. Asked often, with `Context.lock` held: be quick.

        Call `Context.notify` when the answer may have changed. Work that is in a verified block
        no longer counts, or the node would build it again.
        """
        return False

    def wait_for_event(self, cancelled: threading.Event) -> Event | None:
        """Override to tell events in a way of your own; `has_pending_work` suits nearly everyone.

        Block until there is an event, or until *cancelled* is set, which happens often: no other call
        of it begins before. Keep telling an event until it is resolved: the node may drop it. None
        leaves the answer to vmsdk.
        """
        return None

    # HTTP ------------------------------------------------------------------------------------------

    def create_handlers(self) -> Mapping[str, Any]:
        """The chain's HTTP handlers by path below `/ext/bc/<chain>`, such as `""` or `"/rpc"`.

        Each is an ASGI app, a WSGI app, or a `vmsdk.http.JSONRPC` service. A path is matched as a
        whole, unless it ends in a template segment such as `/{rest:.*}`.
        """
        return {}

    def new_http_handler(self) -> Any:
        """The handler for requests that name the chain in a header (protocol 41 and newer), or None."""
        return None

    # Health ----------------------------------------------------------------------------------------

    def health_check(self) -> Any:
        """Details for the node's health page: any JSON value. Raise when the chain is unhealthy."""
        return None

    # Peers -----------------------------------------------------------------------------------------

    def connected(self, node_id: NodeID, version: NodeVersion) -> None:
        """A peer that tracks this chain's subnet is there (this node itself, too)."""

    def disconnected(self, node_id: NodeID) -> None:
        """A peer is gone, or is ignored for being slow."""

    def app_request(
        self, node_id: NodeID, request_id: int, deadline: Timestamp, request: bytes
    ) -> bytes | None:
        """A peer asks. Return the response, or None to answer later by `Context.sender`.

        Raise `AppError` to refuse. After *deadline* nobody waits for the answer.
        """
        raise AppError(AppError.UNREGISTERED_HANDLER, "unregistered handler")

    def app_request_failed(self, node_id: NodeID, request_id: int, error: AppError) -> None:
        """A request of ours got no response; *error* says why."""

    def app_response(self, node_id: NodeID, request_id: int, response: bytes) -> None:
        """A peer answers a request of ours."""

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        """A peer tells something, which may be anything."""


class BuildBlockWithContext(ABC):
    """A power of a `ChainVM`: building at a P-chain height."""

    @abstractmethod
    def build_block_with_context(self, p_chain_height: int) -> Block:
        """Like `ChainVM.build_block`, at this P-chain height."""


class BatchedParseBlock(ABC):
    """A power of a `ChainVM`: parsing many blocks at once."""

    @abstractmethod
    def batched_parse_block(self, data: Sequence[bytes]) -> Sequence[Block]:
        """The blocks in *data*, in their order and number. One bad element fails the call."""


class GetAncestors(ABC):
    """A power of a `ChainVM`: looking up a run of ancestors at once."""

    @abstractmethod
    def get_ancestors(
        self, block_id: ID, max_blocks: int, max_size: int, max_seconds: float
    ) -> Sequence[bytes]:
        """The bytes of a block, then of its parent, and so on; empty when the block is unknown.

        Stop before more than *max_blocks* (at least 1), before the sum of lengths plus 4 for each
        block exceeds *max_size* bytes, and after *max_seconds*; the first block is always given.
        """


class CrossChainVM(ABC):
    """A power of a `ChainVM`: messages from other chains of the same node (protocols 35 and 36)."""

    @abstractmethod
    def cross_chain_app_request(
        self, chain_id: ID, request_id: int, deadline: Timestamp, request: bytes
    ) -> bytes | None:
        """Another chain asks. Return the response, or None to answer later; raise `AppError` to refuse."""

    @abstractmethod
    def cross_chain_app_request_failed(self, chain_id: ID, request_id: int, error: AppError) -> None:
        """A request of ours to another chain failed."""

    @abstractmethod
    def cross_chain_app_response(self, chain_id: ID, request_id: int, response: bytes) -> None:
        """Another chain answers."""
