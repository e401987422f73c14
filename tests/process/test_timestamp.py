"""The timestamp example as a plugin, at every protocol version, from the handshake to a clean
stop.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from vmsdk.host.block import Block
from vmsdk.host.chain import Chain
from vmsdk.host.errors import CallFailed
from vmsdk.host.node import Host
from vmsdk.protocol import PROTOCOLS
from vmsdk.state import Event

from .jsonrpc import Client
from .plugin import PATIENCE_S, Lines, timestamp

GENESIS = b"In the beginning"
DATA_LENGTH = 32
MAX_PROPOSALS = 1024


@pytest.mark.parametrize("version", PROTOCOLS)
def test_a_proposed_block_is_accepted_at_every_protocol_version(version: int) -> None:
    lines = Lines()
    with Host(timestamp(version), protocol=version, genesis=GENESIS, log=lines) as host:
        with Client(host, "timestampvm") as client:
            assert client("lastAccepted")["height"] == 0
            assert client("proposeBlock", data="0xCAFE") == {"success": True}
            assert host.chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
            block = host.chain.produce()
            assert client("lastAccepted") == {"id": str(block.id), "height": 1}
            found = client("getBlock", id=str(block.id))
            assert (found["height"], found["data"]) == (1, "0xcafe" + "00" * 30)
            assert host.chain.health() == {"database": None, "health": None}
        process = host.process
    assert process.exit_code == 0
    assert "Traceback" not in lines.text


def test_a_restart_goes_on_from_what_was_stored(tmp_path: Path) -> None:
    database = tmp_path / "chain.db"
    with (
        Host(timestamp(45), genesis=GENESIS, database=database) as host,
        Client(host, "timestampvm") as client,
    ):
        client("proposeBlock", data="0xCAFE")
        block = host.chain.produce()
        found = client("getBlock", id=str(block.id))
    with (
        Host(timestamp(45), genesis=GENESIS, database=database) as host,
        Client(host, "timestampvm") as client,
    ):
        assert host.chain.last_accepted.id == block.id
        assert client("getBlock", id=str(block.id)) == found
        genesis = client("getBlock", id=found["parentID"])
        assert bytes.fromhex(genesis["data"][2:]).rstrip(b"\0") == GENESIS


def test_an_accepted_block_costs_one_write_and_no_read() -> None:
    with Host(timestamp(45)) as host, Client(host, "timestampvm") as client:
        database = host.services.database
        client("proposeBlock", data="00")
        host.chain.next_event(PATIENCE_S)
        host.chain.produce()
        before = database.calls.copy()
        for number in range(1, 21):
            client("proposeBlock", data=f"{number:02x}")
            assert host.chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
            host.chain.produce()
        assert database.calls - before == {"WriteBatch": 20}


def two_siblings(chain: Chain, client: Client) -> list[Block]:
    """Two verified blocks on the last accepted one."""
    siblings = []
    for data in ("aa", "bb"):
        client("proposeBlock", data=data)
        assert chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
        siblings.append(chain.build_block())
        chain.verify(siblings[-1])
    return siblings


def test_forks_are_decided_and_blocks_out_of_time_refused() -> None:
    with Host(timestamp(45)) as host, Client(host, "timestampvm") as client:
        chain = host.chain
        siblings = two_siblings(chain, client)
        assert siblings[0].parent_id == siblings[1].parent_id
        assert [block.id for block in chain.accept(siblings[1])] == [siblings[0].id]
        assert client("lastAccepted")["id"] == str(siblings[1].id)

        parent = siblings[1]
        for height, time, rule in (
            (3, 0, "height 3 does not follow"),
            (2, 0, "is not within"),
            (2, 2**62, "is not within"),
        ):
            encoded = parent.id + height.to_bytes(8, "big") + time.to_bytes(8, "big") + bytes(32)
            with pytest.raises(CallFailed, match=rule):
                chain.verify(chain.parse_block(encoded))


def test_a_rejected_blocks_proposal_is_proposed_again() -> None:
    with Host(timestamp(45)) as host, Client(host, "timestampvm") as client:
        chain = host.chain
        siblings = two_siblings(chain, client)
        assert chain.accept(siblings[1]) == [siblings[0]]
        assert chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
        again = chain.produce()
        assert again.parent_id == siblings[1].id
        assert again.raw[-DATA_LENGTH:] == siblings[0].raw[-DATA_LENGTH:]
        with pytest.raises(CallFailed, match="nothing to build"):
            chain.build_block()


def test_a_proposal_stays_when_its_block_was_not_verified() -> None:
    with Host(timestamp(45)) as host, Client(host, "timestampvm") as client:
        client("proposeBlock", data="aa")
        assert host.chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
        lost = host.chain.build_block()
        assert host.chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
        assert host.chain.produce().raw[-DATA_LENGTH:] == lost.raw[-DATA_LENGTH:]


def test_no_proposal_is_in_two_blocks_of_a_branch() -> None:
    with Host(timestamp(45)) as host, Client(host, "timestampvm") as client:
        chain = host.chain
        for data in ("aa", "aa00"):
            assert client("proposeBlock", data=data) == {"success": True}
        block = chain.build_block()
        chain.verify(block)
        chain.prefer(block.id)
        client("proposeBlock", data="0xAA")
        with pytest.raises(CallFailed, match="nothing to build"):
            chain.build_block()
        chain.accept(block)
        with pytest.raises(CallFailed, match="nothing to build"):
            chain.build_block()
        client("proposeBlock", data="aa")
        assert chain.produce().height == 2


def test_proposals_beyond_what_is_kept_are_refused_until_a_block_makes_room() -> None:
    with Host(timestamp(45)) as host, Client(host, "timestampvm") as client:
        for number in range(MAX_PROPOSALS):
            assert client("proposeBlock", data=f"{number:04x}") == {"success": True}
        assert f"{MAX_PROPOSALS} proposals" in client("proposeBlock", data="ffff")["message"]
        assert client("proposeBlock", data="0000") == {"success": True}  # it is there already
        host.chain.produce()
        assert client("proposeBlock", data="ffff") == {"success": True}


def test_bad_requests_are_answered_with_an_error() -> None:
    lines = Lines()
    with Host(timestamp(45), log=lines) as host, Client(host, "timestampvm") as client:
        for method, params, text in (
            ("proposeBlock", {"data": "0x" + "00" * 33}, "33 bytes"),
            ("proposeBlock", {"data": "xyz"}, "hex"),
            ("getBlock", {"id": "nonsense"}, "nonsense"),
            ("getBlock", {"id": "11111111111111111111111111111111LpoYY"}, "no key"),
            ("noSuchMethod", {}, "noSuchMethod"),
        ):
            error = client(method, **params)
            assert error["code"] < 0
            assert text in error["message"]
    assert "Traceback" not in lines.text
