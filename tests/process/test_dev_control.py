"""`/ext/dev`, as anvil's users expect it, and its client in Python."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from vmsdk.errors import VMError
from vmsdk.ids import ID, NodeID
from vmsdk.testing import DevClient

from .devcommand import Dev, call, request
from .plugin import PLUGINS

PEER = NodeID(bytes(range(50, 70)))


class Session:
    """A running `vmsdk dev`, its chain's URL and its client."""

    def __init__(self, dev: Dev) -> None:
        self.dev = dev
        self.url = dev.url()
        self.base = self.url.partition("/ext/")[0]
        self.client = DevClient(self.base)

    def propose(self, *data: str) -> None:
        for each in data:
            call(self.url, "timestampvm.proposeBlock", data=each)

    @property
    def height(self) -> int:
        return int(call(self.url, "timestampvm.lastAccepted")["height"])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Dev(PLUGINS / "steered.py", "--alone", folder=tmp_path) as dev:
        yield Session(dev)
        dev.interrupt()
        assert dev.wait() == 0
    assert "a network would not accept" not in dev.output


# Blocks -------------------------------------------------------------------------------------------


def test_blocks_are_made_on_demand_only(session: Session) -> None:
    session.client.set_automine(False)
    session.propose("0x01", "0x02", "0x03")
    assert session.client.call("dev_getAutomine") is False
    assert [block["height"] for block in session.client.mine(2)] == [1, 2]
    assert session.height == 2
    with pytest.raises(VMError, match=r"dev_mine: made 1 of 2 blocks: BuildBlock: .*nothing to build"):
        session.client.mine(2)
    session.propose("0x04")
    session.client.set_automine(True)
    session.dev.line(r"^block 4 ")


def test_blocks_are_made_by_time(session: Session) -> None:
    session.client.set_interval_mining(0.05)
    assert session.client.call("dev_getAutomine") is False
    session.propose("0x01", "0x02")
    session.dev.line(r"^block 2 ")
    session.client.set_interval_mining(0)
    assert session.client.call("dev_getIntervalMining") == 0


def test_competing_blocks_are_reorganised_and_one_branch_is_accepted(session: Session) -> None:
    client = session.client
    client.set_automine(False)
    genesis = client.preference()
    session.propose("0x01", "0x02", "0x03")
    first = client.propose()
    other = client.propose(genesis)
    assert client.preference() == ID.from_string(first["id"])
    assert [block["height"] for block in client.undecided()] == [1, 1]
    client.reorg(ID.from_string(other["id"]))
    tip = client.propose()
    assert tip["parentID"] == other["id"]
    decided = client.accept()
    assert [block["id"] for block in decided["accepted"]] == [other["id"], tip["id"]]
    assert [block["id"] for block in decided["rejected"]] == [first["id"]]
    assert (session.height, client.undecided()) == (2, [])
    assert client.mine()[0]["height"] == 3  # with what the rejected block gave back


def test_the_next_block_is_rejected_and_its_work_is_done_by_another(session: Session) -> None:
    session.client.reject_next()
    session.propose("0x01")
    assert session.dev.line(r"^block 1 ")
    assert session.height == 1


# Time ---------------------------------------------------------------------------------------------


def test_time_is_moved_for_the_vm_also_over_a_restart(session: Session) -> None:
    client = session.client
    client.set_automine(False)
    assert client.increase_time(3_600) == 3_600
    session.propose("0x01")
    began = int(time.time())
    assert client.mine()[0]["timestamp"] >= began + 3_600
    client.restart()
    assert call(session.url, "state")["now"] >= began + 3_600
    client.set_time(2_000_000_000)
    session.propose("0x02", "0x03")
    first, second = client.mine(2, interval=60)
    assert first["timestamp"] in range(2_000_000_000, 2_000_000_050)
    assert second["timestamp"] - first["timestamp"] in range(60, 110)


# State --------------------------------------------------------------------------------------------


def test_a_snapshot_is_reverted_to_once(session: Session) -> None:
    client = session.client
    session.propose("0x01")
    session.dev.line(r"^block 1 ")
    assert client.snapshot() == "0x1"
    session.propose("0x02")
    session.dev.line(r"^block 2 ")
    later = client.snapshot()
    client.revert("0x1")
    assert session.height == 1
    for gone in ("0x1", later):
        with pytest.raises(VMError, match=f"there is no snapshot {gone}: a snapshot can be reverted to once"):
            client.revert(gone)
    session.propose("0x05")
    session.dev.line(r"^block 2 ")


def test_a_snapshot_that_cannot_be_reverted_to_is_kept_and_the_chain_goes_on(
    session: Session, tmp_path: Path
) -> None:
    client = session.client
    session.propose("0x01")
    session.dev.line(r"^block 1 ")
    snapshot = client.snapshot()
    session.propose("0x02")
    session.dev.line(r"^block 2 ")
    (data,) = (tmp_path / ".vmsdk").glob("*/chain.json")
    in_the_way = data.parent / "files.new"
    in_the_way.touch()
    with pytest.raises(VMError, match=r"dev_revert: can't revert to snapshot 0x1: .*File exists"):
        client.revert(snapshot)
    assert session.height == 2
    in_the_way.unlink()
    client.revert(snapshot)
    assert session.height == 1


def test_a_killed_vm_starts_again_with_what_it_accepted(session: Session) -> None:
    session.propose("0x01")
    session.dev.line(r"^block 1 ")
    session.client.kill()
    assert session.height == 1
    session.propose("0x02")
    session.dev.line(r"^block 2 ")
    assert "failed to shut down" not in session.dev.output


def test_the_next_database_calls_fail(session: Session) -> None:
    session.client.fail_database(1, "disk full")
    session.propose("0x01")
    session.dev.line("disk full")
    session.client.kill()
    assert session.height in (0, 1)


# The P-chain and peers ----------------------------------------------------------------------------


def test_validators_and_heights_are_what_was_set_also_over_a_restart(session: Session) -> None:
    client = session.client
    assert call(session.url, "state")["weights"] == [100]
    client.set_p_chain_height(9, 7)
    client.set_validators([{"nodeID": str(PEER), "weight": 5}, {"nodeID": str(NodeID(bytes(20)))}])
    for _ in range(2):
        state = call(session.url, "state")
        assert (state["height"], state["weights"]) == (9, [5, 100])
        body = {"jsonrpc": "2.0", "id": 1, "method": "platform.getHeight"}
        assert json.loads(request(f"{session.base}/ext/bc/P", json.dumps(body).encode())[1])["result"] == {
            "height": "9"
        }
        client.restart()


def test_messages_are_sent_as_a_peer(session: Session) -> None:
    client = session.client
    client.connect_peer(PEER)
    session.dev.line(f"connected {PEER}")
    client.app_gossip(PEER, b"hello")
    assert client.app_request(PEER, b"abc") == b"cba"
    with pytest.raises(VMError, match=r"the VM responded with an error: .*an empty request"):
        client.app_request(PEER, b"")
    session.dev.line(f"heard {PEER}: b'hello'")
    client.disconnect_peer(PEER)
    with pytest.raises(VMError, match=r"NodeID-.* is not connected"):
        client.disconnect_peer(NodeID(bytes(20)))
    assert client.sent_messages() == []


# Errors -------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any, int, str]] = [
    ("dev_nothing", [], -32601, "there is no method 'dev_nothing': use dev_mine, "),
    ("evm_increaseTime", [1], -32601, "there is no method 'evm_increaseTime': use dev_increaseTime"),
    (
        "dev_mine",
        ["many"],
        -32602,
        "must be an integer, not 'many'; the parameters are (blocks, interval)",
    ),
    ("dev_mine", [1, 2, 3], -32602, "too many positional arguments"),
    ("dev_mine", {"block": 1}, -32602, "got an unexpected keyword argument 'block'"),
    ("dev_mine", [0], -32000, "blocks must be a number from 1 to 10000, not 0"),
    ("dev_mine", 3, -32602, "params must be an array or an object"),
    ("dev_setAutomine", [1], -32602, "on must be true or false, not 1"),
    ("dev_setAutomine", [], -32602, "missing a required argument: 'on'"),
    ("dev_increaseTime", [1e300], -32000, "1e+300 s is out of range"),
    ("dev_setIntervalMining", [-1], -32000, "seconds must be at least 0, not -1"),
    ("dev_revert", ["0x7"], -32000, "there is no snapshot 0x7"),
    ("dev_reorg", ["x"], -32602, "id: input string is smaller than the checksum size: 'x'"),
    ("dev_accept", [str(ID.EMPTY)], -32000, f"{ID.EMPTY} is not an undecided block"),
    (
        "dev_appGossip",
        [str(PEER), "zz"],
        -32602,
        "must be bytes in hexadecimal, such as 0x1234, not 'zz'",
    ),
    (
        "dev_setValidators",
        [[{"id": 1}]],
        -32602,
        "must be an object of nodeID, weight and publicKey",
    ),
    (
        "dev_setValidators",
        [[{"nodeID": str(PEER), "publicKey": "0x12"}]],
        -32602,
        "publicKey must have 48 bytes, or",
    ),
    ("dev_setValidators", [[{"nodeID": str(PEER)}] * 2], -32000, f"{PEER} is listed twice"),
    (
        "dev_appGossip",
        [str(PEER), "0x" + "00" * (2**21 + 1)],
        -32000,
        "a message has at most 2097152 bytes, and this one has 2097153",
    ),
    ("dev_appRequest", [str(PEER), "0x" + "00" * (2**21 + 1)], -32000, "this one has 2097153"),
    ("dev_setPChainHeight", [1, 2], -32000, "minimum must be from 0 to height"),
]


def test_wrong_calls_get_clear_errors(session: Session) -> None:
    post = poster(session.base)
    for method, params, code, text in WRONG:
        error = post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()["error"]
        assert error["code"] == code, (method, params, error)
        assert text in error["message"], (method, params, error)
    response = post({"jsonrpc": "2.0", "id": 1, "method": "dev_mine"}, origin="https://example.com")
    assert (response.status_code, response.text) == (403, "/ext/dev is not for web pages")


def poster(base: str) -> Callable[..., httpx.Response]:
    def post(body: Any, **headers: str) -> httpx.Response:
        headers = {"content-type": "application/json", **headers}
        return httpx.post(f"{base}/ext/dev", content=json.dumps(body), headers=headers, trust_env=False)

    return post


def test_a_client_without_a_dev_says_so() -> None:
    with pytest.raises(VMError, match=r"dev_mine: can't reach vmsdk dev at http://127.0.0.1:1/ext/dev"):
        DevClient("http://127.0.0.1:1").mine()
