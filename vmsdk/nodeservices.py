"""The services of the node that a VM can call.

All can be called from any thread, and during any call of the node. Each raises `NodeError` with the
node's own text if the node refuses, and `NodeTooOld` if the node's protocol lacks the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from typing_extensions import Self

from vmsdk.database import Batch
from vmsdk.errors import WeightOverflow
from vmsdk.ids import ID, NodeID

MAX_WEIGHT = (1 << 64) - 1
"""Weights are unsigned 64-bit numbers, and so is their sum."""


class AppSender(ABC):
    """Sends application messages to peers. Every call returns once the message is queued."""

    @abstractmethod
    def send_app_request(self, node_ids: Iterable[NodeID], request_id: int, request: bytes) -> None:
        """Send a request to each of *node_ids*. Each leads to one `app_response` or
        `app_request_failed`.

        *request_id* is 32 bits, unsigned, and must not be in use for the same node.
        """

    @abstractmethod
    def send_app_response(self, node_id: NodeID, request_id: int, response: bytes) -> None:
        """Send a response. (Returning bytes from `app_request` does the same.)"""

    @abstractmethod
    def send_app_error(self, node_id: NodeID, request_id: int, code: int, message: str) -> None:
        """Refuse a request; *code* is 32 bits, signed. (Raising `AppError` does the same.)"""

    @abstractmethod
    def send_app_gossip(
        self,
        message: bytes,
        *,
        node_ids: Iterable[NodeID] = (),
        validators: int = 0,
        non_validators: int = 0,
        peers: int = 0,
    ) -> None:
        """Send *message* to all of *node_ids*, and to random samples of the connected nodes.

        The other arguments are the sizes of the samples. Raises `InvalidInput` without any target.
        """

    @abstractmethod
    def send_cross_chain_app_request(self, chain_id: ID, request_id: int, request: bytes) -> None:
        """Send a request to another chain of this node (protocols 35 and 36)."""

    @abstractmethod
    def send_cross_chain_app_response(self, chain_id: ID, request_id: int, response: bytes) -> None:
        """Send a response to another chain of this node (protocols 35 and 36)."""

    @abstractmethod
    def send_cross_chain_app_error(self, chain_id: ID, request_id: int, code: int, message: str) -> None:
        """Refuse a request of another chain of this node (protocols 35 and 36)."""


@dataclass(frozen=True)
class SharedElement:
    """A value that one chain puts into shared memory for another."""

    key: bytes
    """Unique between the two chains."""
    value: bytes
    traits: Sequence[bytes] = ()
    """The receiving chain finds the value by these, for instance addresses."""


@dataclass(frozen=True)
class SharedRequests:
    """The changes that one `apply` makes for one peer chain."""

    removes: Sequence[bytes] = ()
    """Keys of values that the peer left for this chain."""
    puts: Sequence[SharedElement] = ()
    """Values that this chain leaves for the peer."""


@dataclass(frozen=True)
class SharedPage:
    """Values found by their traits, newest first within a trait."""

    values: Sequence[bytes]
    last_trait: bytes
    """With `last_key`: the start of the next page, which begins with this page's last value."""
    last_key: bytes


class SharedMemory(ABC):
    """A mailbox between this chain and every other chain of the subnet."""

    @abstractmethod
    def get(self, peer_chain_id: ID, keys: Sequence[bytes]) -> list[bytes]:
        """The values that the peer left under *keys*, in order. One missing key fails the call."""

    @abstractmethod
    def indexed(
        self,
        peer_chain_id: ID,
        traits: Iterable[bytes],
        *,
        start_trait: bytes = b"",
        start_key: bytes = b"",
        limit: int,
    ) -> SharedPage:
        """Up to *limit* of the peer's values that have one of *traits*, each value once."""

    @abstractmethod
    def apply(self, requests: Mapping[ID, SharedRequests], *batches: Batch) -> None:
        """Apply each peer chain's removes, then puts, and *batches* of `ctx.db`: all or nothing."""


class AliasReader(ABC):
    """The names of this node's chains."""

    @abstractmethod
    def lookup(self, alias: str) -> ID:
        """The ID of the chain named *alias*."""

    @abstractmethod
    def primary_alias(self, chain_id: ID) -> str:
        """The chain's first alias. During `initialize`, this fails for the VM's own chain."""

    @abstractmethod
    def aliases(self, chain_id: ID) -> list[str]:
        """All aliases of a chain; empty if it has none."""


@dataclass(frozen=True)
class Validator:
    """One validator of a subnet at one P-chain height."""

    node_id: NodeID
    weight: int
    public_key: bytes = b""
    """96 bytes, uncompressed BLS12-381 G1; empty if the validator registered none."""


@dataclass(frozen=True)
class CurrentValidator(Validator):
    """One validator of a subnet now."""

    validation_id: ID = ID.EMPTY
    """The validation of an L1 validator, or the transaction that added any other."""
    start_time: int = 0
    """Unix seconds."""
    min_nonce: int = 0
    is_active: bool = True
    is_l1_validator: bool = False


@dataclass(frozen=True)
class WarpValidator:
    """The validators that share one BLS key, as warp signatures count them."""

    public_key: bytes
    """96 bytes, uncompressed."""
    weight: int
    """The sum of their weights."""
    node_ids: Sequence[NodeID] = ()


@dataclass(frozen=True)
class WarpValidatorSet:
    """A subnet's validators in canonical order: ascending by uncompressed key."""

    validators: Sequence[WarpValidator]
    total_weight: int
    """The weight of all validators, including those without a key."""

    @classmethod
    def of(cls, validators: Iterable[Validator]) -> Self:
        """Put *validators* in canonical order. Those with the same key become one.

        Raises `WeightOverflow` if the total exceeds 64 bits.
        """
        total = 0
        sharing: defaultdict[bytes, list[Validator]] = defaultdict(list)
        for validator in validators:
            total += validator.weight
            if validator.public_key:
                sharing[validator.public_key].append(validator)
        if total > MAX_WEIGHT:
            raise WeightOverflow(total)
        return cls(
            tuple(
                WarpValidator(
                    public_key=key,
                    weight=sum(validator.weight for validator in sharing[key]),
                    node_ids=tuple(sorted(validator.node_id for validator in sharing[key])),
                )
                for key in sorted(sharing)
            ),
            total,
        )


@dataclass(frozen=True)
class CurrentValidatorSet:
    """A subnet's validators now."""

    validators: Mapping[ID, CurrentValidator] = field(default_factory=dict)
    """By validation ID."""
    height: int = 0
    """The P-chain height of *now*."""


class ValidatorState(ABC):
    """The P-chain's validators. With sybil protection off, sets are empty."""

    @abstractmethod
    def get_minimum_height(self) -> int:
        """A P-chain height a little below the last accepted: safe to use in a block."""

    @abstractmethod
    def get_current_height(self) -> int:
        """The P-chain's last accepted height."""

    @abstractmethod
    def get_subnet_id(self, chain_id: ID) -> ID:
        """The subnet of a chain."""

    @abstractmethod
    def get_validator_set(self, height: int, subnet_id: ID) -> dict[NodeID, Validator]:
        """The validators of a subnet at a P-chain height; empty for an unknown subnet."""

    @abstractmethod
    def get_current_validator_set(self, subnet_id: ID) -> CurrentValidatorSet:
        """The validators of a subnet now (protocol 38 and newer)."""

    @abstractmethod
    def get_warp_validator_sets(self, height: int) -> dict[ID, WarpValidatorSet]:
        """The canonical sets of all subnets at a P-chain height (protocol 44 and newer)."""

    @abstractmethod
    def get_warp_validator_set(self, height: int, subnet_id: ID) -> WarpValidatorSet:
        """The canonical set of one subnet at a P-chain height, on every protocol version.

        One call to the node if its protocol has it; otherwise computed from `get_validator_set`.
        """


class WarpSigner(ABC):
    """Signs with the node's BLS key. The VM decides what may be signed."""

    @abstractmethod
    def sign(self, network_id: int, source_chain_id: ID, payload: bytes) -> bytes:
        """The 96-byte signature of the unsigned warp message built from these.

        The node refuses a chain that is not this one and a network that is not its own.
        """


class NodeServices(Protocol):
    """All of the above, for one chain."""

    @property
    def sender(self) -> AppSender: ...
    @property
    def shared_memory(self) -> SharedMemory: ...
    @property
    def aliases(self) -> AliasReader: ...
    @property
    def validators(self) -> ValidatorState: ...
    @property
    def warp_signer(self) -> WarpSigner: ...
