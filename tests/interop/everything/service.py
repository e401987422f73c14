"""What can be asked of the VM by JSON-RPC. Bytes go and come as hex."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

import vmsdk
from vmsdk.database import Batch
from vmsdk.http import JSONRPCError
from vmsdk.nodeservices import SharedElement, SharedRequests, WarpValidatorSet

if TYPE_CHECKING:
    from .vm import EverythingVM

REFUSED = 1

Call = TypeVar("Call", bound=Callable[..., Any])


def told(method: Call) -> Call:
    """Tells the caller the text of an error that vmsdk raises."""

    @functools.wraps(method)
    def calling(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except vmsdk.VMError as error:
            raise JSONRPCError(REFUSED, f"{type(error).__name__}: {error}") from error

    return cast("Call", calling)


class Service:
    """The methods, as `everything.context` and so on."""

    def __init__(self, vm: EverythingVM) -> None:
        self._vm = vm

    # The chain

    def context(self) -> dict[str, Any]:
        ctx = self._vm.ctx
        upgrades = ctx.network_upgrades
        return {
            "network_id": ctx.network_id,
            "subnet_id": ctx.subnet_id.hex(),
            "chain_id": ctx.chain_id.hex(),
            "node_id": ctx.node_id.hex(),
            "public_key": ctx.public_key.hex(),
            "x_chain_id": ctx.x_chain_id.hex(),
            "c_chain_id": ctx.c_chain_id.hex(),
            "avax_asset_id": ctx.avax_asset_id.hex(),
            "chain_data_dir": str(ctx.chain_data_dir),
            "protocol_version": ctx.protocol_version,
            "upgrades": None
            if upgrades is None
            else {k: str(v) for k, v in asdict(upgrades).items() if v is not None},
            **self._vm.given,
        }

    def propose(self, payload: str) -> bool:
        with self._vm.ctx.lock:
            self._vm.mempool.append(bytes.fromhex(payload))
        self._vm.ctx.notify()
        return True

    def seen(self) -> dict[str, Any]:
        """What the engine did."""
        with self._vm.ctx.lock:
            return {
                "states": self._vm.states,
                "verifications": self._vm.verifications,
                "builds": self._vm.builds,
                "rejected": [block_id.hex() for block_id in self._vm.rejected],
                "lookup_during_initialize": self._vm.lookup_during_initialize,
            }

    def forget(self) -> bool:
        """Forget what the engine and peers did."""
        with self._vm.ctx.lock, self._vm.received_more:
            self._vm.received.clear()
            self._vm.verifications.clear()
            self._vm.rejected.clear()
        return True

    def set_builds_fail(self, fail: bool) -> bool:
        with self._vm.ctx.lock:
            self._vm.builds_fail = fail
        return fail

    def set_healthy(self, healthy: bool) -> bool:
        self._vm.is_healthy = healthy
        return healthy

    def finish_sync(self) -> bool:
        self._vm.finish_sync()
        return True

    # Peers

    def received(self, count: int) -> list[dict[str, Any]]:
        """Everything that came from peers, once it is at least *count* things."""
        with self._vm.received_more:
            if not self._vm.received_more.wait_for(lambda: len(self._vm.received) >= count, 25):
                raise JSONRPCError(REFUSED, f"only {len(self._vm.received)} came: {self._vm.received}")
            return list(self._vm.received)

    @told
    def send_request(self, node_ids: list[str], request_id: int, data: str) -> bool:
        nodes = [vmsdk.NodeID(bytes.fromhex(node_id)) for node_id in node_ids]
        self._vm.ctx.sender.send_app_request(nodes, request_id, bytes.fromhex(data))
        return True

    @told
    def send_response(self, node_id: str, request_id: int, data: str) -> bool:
        node = vmsdk.NodeID(bytes.fromhex(node_id))
        self._vm.ctx.sender.send_app_response(node, request_id, bytes.fromhex(data))
        return True

    @told
    def send_gossip(
        self, data: str, node_ids: list[str], validators: int, non_validators: int, peers: int
    ) -> bool:
        self._vm.ctx.sender.send_app_gossip(
            bytes.fromhex(data),
            node_ids=[vmsdk.NodeID(bytes.fromhex(node_id)) for node_id in node_ids],
            validators=validators,
            non_validators=non_validators,
            peers=peers,
        )
        return True

    @told
    def send_cross_chain_request(self, chain_id: str, request_id: int, data: str) -> bool:
        chain = vmsdk.ID(bytes.fromhex(chain_id))
        self._vm.ctx.sender.send_cross_chain_app_request(chain, request_id, bytes.fromhex(data))
        return True

    # Services

    @told
    def lookup(self, alias: str) -> str:
        return self._vm.ctx.aliases.lookup(alias).hex()

    @told
    def aliases(self, chain_id: str) -> list[str]:
        return self._vm.ctx.aliases.aliases(vmsdk.ID(bytes.fromhex(chain_id)))

    @told
    def primary_alias(self, chain_id: str) -> str:
        return self._vm.ctx.aliases.primary_alias(vmsdk.ID(bytes.fromhex(chain_id)))

    @told
    def sign(self, network_id: int, chain_id: str, payload: str) -> str:
        source = vmsdk.ID(bytes.fromhex(chain_id))
        return self._vm.ctx.warp_signer.sign(network_id, source, bytes.fromhex(payload)).hex()

    @told
    def heights(self) -> list[int]:
        validators = self._vm.ctx.validators
        return [validators.get_minimum_height(), validators.get_current_height()]

    @told
    def subnet_of(self, chain_id: str) -> str:
        return self._vm.ctx.validators.get_subnet_id(vmsdk.ID(bytes.fromhex(chain_id))).hex()

    @told
    def validator_set(self, height: int, subnet_id: str) -> list[dict[str, Any]]:
        found = self._vm.ctx.validators.get_validator_set(height, vmsdk.ID(bytes.fromhex(subnet_id)))
        return [
            {"node_id": node_id.hex(), "weight": v.weight, "public_key": v.public_key.hex()}
            for node_id, v in sorted(found.items())
        ]

    @told
    def current_validator_set(self, subnet_id: str) -> dict[str, Any]:
        found = self._vm.ctx.validators.get_current_validator_set(vmsdk.ID(bytes.fromhex(subnet_id)))
        return {
            "height": found.height,
            "validators": [
                {
                    "validation_id": validation_id.hex(),
                    "node_id": v.node_id.hex(),
                    "weight": v.weight,
                    "public_key": v.public_key.hex(),
                    "start_time": v.start_time,
                    "is_active": v.is_active,
                    "is_l1_validator": v.is_l1_validator,
                }
                for validation_id, v in sorted(found.validators.items())
            ],
        }

    @told
    def warp_validator_set(self, height: int, subnet_id: str) -> dict[str, Any]:
        found = self._vm.ctx.validators.get_warp_validator_set(height, vmsdk.ID(bytes.fromhex(subnet_id)))
        return _warp_set(found)

    @told
    def warp_validator_sets(self, height: int) -> dict[str, Any]:
        found = self._vm.ctx.validators.get_warp_validator_sets(height)
        return {subnet_id.hex(): _warp_set(each) for subnet_id, each in found.items()}

    # Shared memory

    @told
    def shared_get(self, chain_id: str, keys: list[str]) -> list[str]:
        peer = vmsdk.ID(bytes.fromhex(chain_id))
        return [
            value.hex()
            for value in self._vm.ctx.shared_memory.get(peer, [bytes.fromhex(key) for key in keys])
        ]

    @told
    def shared_indexed(
        self, chain_id: str, traits: list[str], limit: int, start_trait: str = "", start_key: str = ""
    ) -> dict[str, Any]:
        page = self._vm.ctx.shared_memory.indexed(
            vmsdk.ID(bytes.fromhex(chain_id)),
            [bytes.fromhex(trait) for trait in traits],
            start_trait=bytes.fromhex(start_trait),
            start_key=bytes.fromhex(start_key),
            limit=limit,
        )
        values = [value.hex() for value in page.values]
        return {"values": values, "last_trait": page.last_trait.hex(), "last_key": page.last_key.hex()}

    @told
    def shared_apply(
        self, chain_id: str, removes: list[str], puts: list[list[str]], batch: list[list[str]]
    ) -> bool:
        """Puts are key, value and traits; the batch's are key and value, or a key to delete."""
        elements = [
            SharedElement(
                bytes.fromhex(key), bytes.fromhex(value), [bytes.fromhex(trait) for trait in traits]
            )
            for key, value, *traits in puts
        ]
        requests = SharedRequests([bytes.fromhex(key) for key in removes], elements)
        writes = self._vm.ctx.db.batch()
        _fill(writes, batch)
        self._vm.ctx.shared_memory.apply({vmsdk.ID(bytes.fromhex(chain_id)): requests}, writes)
        return True

    # Database

    @told
    def db_get(self, keys: list[str]) -> list[str | None]:
        found = self._vm.ctx.db.get_many([bytes.fromhex(key) for key in keys])
        return [None if value is None else value.hex() for value in found]

    @told
    def db_has(self, key: str) -> bool:
        return bytes.fromhex(key) in self._vm.ctx.db

    @told
    def db_write(self, operations: list[list[str]]) -> bool:
        with self._vm.ctx.db.batch() as batch:
            _fill(batch, operations)
        return True

    @told
    def db_fill(self, prefix: str, count: int, size: int) -> bool:
        """*count* values of *size* bytes, under the prefix and a number of 4 bytes."""
        with self._vm.ctx.db.batch() as batch:
            for number in range(count):
                batch.put(bytes.fromhex(prefix) + number.to_bytes(4, "big"), bytes([number % 251]) * size)
        return True

    @told
    def db_iterate(self, prefix: str, start: str = "", limit: int = 1 << 30) -> list[list[Any]]:
        """Each key, the length of its value and the value's first byte."""
        found: list[list[Any]] = []
        with self._vm.ctx.db.iterate(prefix=bytes.fromhex(prefix), start=bytes.fromhex(start)) as pairs:
            for key, value in pairs:
                found.append([key.hex(), len(value), value[:1].hex()])
                if len(found) == limit:
                    break
        return found


def _fill(batch: Batch, operations: list[list[str]]) -> None:
    for key, *value in operations:
        if value:
            batch.put(bytes.fromhex(key), bytes.fromhex(value[0]))
        else:
            batch.delete(bytes.fromhex(key))


def _warp_set(found: WarpValidatorSet) -> dict[str, Any]:
    return {
        "total_weight": found.total_weight,
        "validators": [
            {
                "public_key": v.public_key.hex(),
                "weight": v.weight,
                "node_ids": sorted(n.hex() for n in v.node_ids),
            }
            for v in found.validators
        ],
    }
