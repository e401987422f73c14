"""The node's services, called by a Python VM and seen from their other end, with every node's own
host code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from vmsdk import ID

from .chain import Chain
from .gohost import GoHost
from .jsonrpc import JSONRPCError
from .nodes import Node
from .pyplugin import EVERYTHING, python_plugin


@pytest.fixture(scope="module")
def chain(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One chain for all of this file: each test has keys of its own."""
    plugin = python_plugin(tmp_path_factory.mktemp("plugin"), EVERYTHING, node.protocol)
    with GoHost(node) as host:
        yield Chain(host, plugin)
        host.shutdown()


@pytest.fixture
def host(chain: Chain) -> GoHost:
    return chain.host


# Shared memory


def test_what_a_peer_chain_leaves_is_read_and_removed(chain: Chain, host: GoHost) -> None:
    peer = host.info().x_chain_id.hex()
    host.peer_put(b"one", b"1", [b"trait"])
    host.peer_put(b"two", b"2", [b"trait"])
    host.peer_put(b"three", b"3", [b"trait", b"other"])
    keys = [key.hex() for key in (b"three", b"one")]
    assert chain.ask("sharedGet", chain_id=peer, keys=keys) == [b"3".hex(), b"1".hex()]
    with pytest.raises(JSONRPCError, match="not found"):
        chain.ask("sharedGet", chain_id=peer, keys=[*keys, b"four".hex()])

    traits = [b"trait".hex()]
    first = chain.ask("sharedIndexed", chain_id=peer, traits=traits, limit=2)
    assert first["values"] == [b"3".hex(), b"2".hex()]  # the newest first
    second = chain.ask(
        "sharedIndexed",
        chain_id=peer,
        traits=traits,
        limit=2,
        start_trait=first["last_trait"],
        start_key=first["last_key"],
    )
    assert second["values"] == [b"2".hex(), b"1".hex()]

    chain.ask("sharedApply", chain_id=peer, removes=[b"one".hex()], puts=[], batch=[])
    with pytest.raises(JSONRPCError, match="not found"):
        chain.ask("sharedGet", chain_id=peer, keys=[b"one".hex()])


def test_what_the_vm_leaves_is_written_with_its_own_batch(chain: Chain, host: GoHost) -> None:
    peer = host.info().x_chain_id.hex()
    chain.ask("dbWrite", operations=[[b"old".hex(), "00"]])
    chain.ask(
        "sharedApply",
        chain_id=peer,
        removes=[],
        puts=[[b"left".hex(), b"value".hex(), b"sign".hex()]],
        batch=[[b"new".hex(), "01"], [b"old".hex()]],
    )
    assert host.peer_get([b"left"]) == [b"value"]
    assert host.peer_indexed([b"sign"]) == [b"value"]
    assert chain.ask("dbGet", keys=[b"new".hex(), b"old".hex()]) == ["01", None]


def test_an_apply_that_fails_changes_neither_side(chain: Chain, host: GoHost) -> None:
    peer = host.info().x_chain_id.hex()
    apply = {"chain_id": peer, "removes": [], "puts": [[b"key".hex(), b"1".hex()]]}
    chain.ask("sharedApply", **apply, batch=[[b"first".hex(), "01"]])
    with pytest.raises(JSONRPCError, match="duplicate put"):
        chain.ask("sharedApply", **apply, batch=[[b"second".hex(), "02"]])
    assert chain.ask("dbGet", keys=[b"first".hex(), b"second".hex()]) == ["01", None]
    host.peer_remove([b"key"])


def test_a_value_removed_before_it_came_never_shows(chain: Chain, host: GoHost) -> None:
    peer = host.info().x_chain_id.hex()
    remove = {"chain_id": peer, "removes": [b"early".hex()], "puts": [], "batch": []}
    chain.ask("sharedApply", **remove)
    with pytest.raises(JSONRPCError, match="duplicate remove"):
        chain.ask("sharedApply", **remove)
    host.peer_put(b"early", b"value")
    with pytest.raises(JSONRPCError, match="not found"):
        chain.ask("sharedGet", chain_id=peer, keys=[b"early".hex()])


# Names, validators, warp


def test_names_of_chains_can_be_asked_also_during_initialize(chain: Chain, host: GoHost) -> None:
    x_chain = host.info().x_chain_id.hex()
    assert chain.ask("lookup", alias="X") == x_chain
    assert chain.ask("primaryAlias", chain_id=x_chain) == "X"
    assert chain.ask("aliases", chain_id=x_chain) == ["X"]
    assert chain.ask("aliases", chain_id="07" * 32) == []
    with pytest.raises(JSONRPCError, match="there is no ID with alias"):
        chain.ask("lookup", alias="nobody")
    assert chain.ask("seen")["lookup_during_initialize"] == str(ID(host.info().x_chain_id))


def test_the_p_chain_returns_heights_and_subnets(chain: Chain, host: GoHost) -> None:
    who = host.info()
    assert chain.ask("heights") == [who.minimum_p_chain_height, who.current_p_chain_height]
    assert chain.ask("subnetOf", chain_id=who.chain_id.hex()) == who.subnet_id.hex()
    assert chain.ask("subnetOf", chain_id=who.x_chain_id.hex()) == bytes(32).hex()
    with pytest.raises(JSONRPCError, match="there is no chain with ID"):
        chain.ask("subnetOf", chain_id="07" * 32)


def test_validator_sets_have_weights_and_uncompressed_keys(chain: Chain, host: GoHost) -> None:
    who = host.info()
    found = chain.ask("validatorSet", height=who.current_p_chain_height, subnet_id=who.subnet_id.hex())
    assert found == [
        {"node_id": v.node_id.hex(), "weight": v.weight, "public_key": v.public_key.hex()}
        for v in host.validators()
    ]
    assert [len(bytes.fromhex(v["public_key"])) for v in found] == [96, 96, 96, 0]
    assert chain.ask("validatorSet", height=1, subnet_id="07" * 32) == []
    with pytest.raises(JSONRPCError, match="above the current height"):
        chain.ask("validatorSet", height=10**6, subnet_id=who.subnet_id.hex())


def test_the_current_validator_set_needs_protocol_38(chain: Chain, host: GoHost, node: Node) -> None:
    who = host.info()
    if node.protocol < 38:
        with pytest.raises(JSONRPCError, match=r"NodeTooOld: .*38"):
            chain.ask("currentValidatorSet", subnet_id=who.subnet_id.hex())
        return
    found = chain.ask("currentValidatorSet", subnet_id=who.subnet_id.hex())
    assert found["height"] == who.current_p_chain_height
    assert found["validators"] == [
        {
            "validation_id": (v.node_id + bytes(12)).hex(),
            "node_id": v.node_id.hex(),
            "weight": v.weight,
            "public_key": v.public_key.hex(),
            "start_time": 1_700_000_000,
            "is_active": True,
            "is_l1_validator": False,
        }
        for v in host.validators()
    ]


def canonical(host: GoHost) -> dict[str, Any]:
    """The warp validator set of the host's subnet, as PROTOCOL defines it."""
    by_key: dict[bytes, list[Any]] = {}
    for validator in host.validators():
        if validator.public_key:
            by_key.setdefault(validator.public_key, []).append(validator)
    return {
        "total_weight": sum(v.weight for v in host.validators()),
        "validators": [
            {
                "public_key": key.hex(),
                "weight": sum(v.weight for v in by_key[key]),
                "node_ids": sorted(v.node_id.hex() for v in by_key[key]),
            }
            for key in sorted(by_key)
        ],
    }


def test_the_warp_validator_set_of_a_subnet_is_the_same_on_every_node(chain: Chain, host: GoHost) -> None:
    who = host.info()
    found = chain.ask("warpValidatorSet", height=who.current_p_chain_height, subnet_id=who.subnet_id.hex())
    assert found == canonical(host)


def test_all_warp_validator_sets_need_protocol_44(chain: Chain, host: GoHost, node: Node) -> None:
    who = host.info()
    if node.protocol < 44:
        with pytest.raises(JSONRPCError, match=r"NodeTooOld: .*44"):
            chain.ask("warpValidatorSets", height=who.current_p_chain_height)
        return
    found = chain.ask("warpValidatorSets", height=who.current_p_chain_height)
    assert found == {who.subnet_id.hex(): canonical(host)}


def test_warp_messages_of_this_chain_are_signed_and_no_others(chain: Chain, host: GoHost) -> None:
    who = host.info()
    signed = chain.ask("sign", network_id=who.network_id, chain_id=who.chain_id.hex(), payload=b"hi".hex())
    assert len(bytes.fromhex(signed)) == 96
    assert host.warp_verify(b"hi", bytes.fromhex(signed))
    assert not host.warp_verify(b"ho", bytes.fromhex(signed))
    with pytest.raises(JSONRPCError, match="wrong SourceChainID"):
        chain.ask("sign", network_id=who.network_id, chain_id=who.x_chain_id.hex(), payload="")
    with pytest.raises(JSONRPCError, match="wrong networkID"):
        chain.ask("sign", network_id=1, chain_id=who.chain_id.hex(), payload="")


# Database


def test_the_database_keeps_empty_keys_and_values(chain: Chain) -> None:
    chain.ask("dbWrite", operations=[["", ""], ["e0", ""], ["e1", "01"]])
    assert chain.ask("dbGet", keys=["", "e0", "e1", "e2"]) == ["", "", "01", None]
    assert chain.ask("dbHas", key="") is True
    assert chain.ask("dbHas", key="e2") is False


def test_of_a_batch_the_last_operation_on_a_key_counts(chain: Chain) -> None:
    chain.ask("dbWrite", operations=[["aa", "01"], ["aa", "02"], ["bb"], ["bb", "03"], ["cc", "04"], ["cc"]])
    assert chain.ask("dbGet", keys=["aa", "bb", "cc"]) == ["02", "03", None]


def test_iteration_takes_as_many_answers_as_it_needs(chain: Chain) -> None:
    chain.ask("dbFill", prefix="f0", count=300, size=1000)
    chain.ask("dbFill", prefix="f1", count=2, size=1 << 20)
    numbers = [struct.pack(">I", n).hex() for n in range(300)]
    found = chain.ask("dbIterate", prefix="f0")
    assert [key for key, _, _ in found] == ["f0" + number for number in numbers]
    assert {size for _, size, _ in found} == {1000}
    assert [first for _, _, first in found[:3]] == ["00", "01", "02"]
    assert chain.ask("dbIterate", prefix="f1") == [
        ["f100000000", 1 << 20, "00"],
        ["f100000001", 1 << 20, "01"],
    ]


def test_iteration_starts_where_requested_and_may_be_ended_early(chain: Chain) -> None:
    chain.ask("dbFill", prefix="f3", count=300, size=1000)
    from_290 = chain.ask("dbIterate", prefix="f3", start="f3" + struct.pack(">I", 290).hex())
    assert len(from_290) == 10
    assert chain.ask("dbIterate", prefix="f3", start="00", limit=1)[0][0] == "f300000000"
    assert chain.ask("dbIterate", prefix="f3", start="f4") == []
    assert len(chain.ask("dbIterate", prefix="f3")) == 300
