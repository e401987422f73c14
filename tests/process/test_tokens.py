"""The token chain as its users meet it: the wallet's commands, the HTTP interface, restarts."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from vmsdk import chain
from vmsdk.chain.accepted import AcceptedState
from vmsdk.chain.keys import Ed25519Key, PrivateKey, Secp256k1Key
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase

from .devcommand import TIMEOUT_S, Dev

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "tokens"
sys.path.insert(0, str(FOLDER))

from tokensvm import ACCOUNTS, MIN_FEE, Account, TokensVM, Transfer  # noqa: E402

ANN, BOB = Ed25519Key.from_hex("11" * 32), Secp256k1Key.from_hex("22" * 32)
SUPPLY = 1_000_000
FEE = MIN_FEE


class Tokens:
    """A running chain on which Ann owns all tokens."""

    def __init__(self, folder: Path) -> None:
        genesis = folder / "genesis.json"
        genesis.write_text(json.dumps({ANN.address.hex(): SUPPLY}))
        self.dev = Dev(FOLDER / "tokensvm.py", "--genesis", genesis, folder=folder)
        self.dev.__enter__()
        self.url = self.dev.url().rstrip("/")
        self.chain_id = ID.from_string(self.get("/chain")["chain_id"])

    def get(self, path: str) -> Any:
        response = httpx.get(self.url + path, timeout=TIMEOUT_S)
        assert response.status_code == 200, response.text
        return response.json()

    def submit(self, *transfers: Transfer) -> list[Any]:
        body = {"raw": [each.raw.hex() for each in transfers]}
        response = httpx.post(self.url + "/transfers", json=body, timeout=TIMEOUT_S)
        assert response.status_code == 202, response.text
        results: list[Any] = response.json()
        return results

    def transfer(self, key: PrivateKey, to: bytes, amount: int, nonce: int, fee: int = FEE) -> Transfer:
        return Transfer(to, amount, fee, nonce).sign(key, self.chain_id)

    def account(self, key: PrivateKey) -> Any:
        return self.get(f"/accounts/{key.address.hex()}")

    def feed(self, start: int) -> Any:
        return connect(f"{self.url.replace('http', 'ws')}/feed?start={start}")


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    running = Tokens(tmp_path)
    with running.dev:
        yield running


def wallet(folder: Path, *arguments: str) -> str:
    """What the wallet's command prints."""
    run = subprocess.run(
        [sys.executable, str(FOLDER / "tokenswallet.py"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return (run.stdout or f"{run.returncode}: {run.stderr}").strip()


def test_a_wallet_makes_keys_and_sends_tokens(tokens: Tokens, tmp_path: Path) -> None:
    ANN.save(tmp_path / "ann.pem")
    bob = wallet(tmp_path, "new", "bob.pem", "--secp256k1")
    assert wallet(tmp_path, "address", "bob.pem") == bob
    url = ("--url", tokens.url)
    with tokens.feed(1) as feed:
        sent = wallet(tmp_path, *url, "send", "ann.pem", bob, "500")
        (transfer,) = json.loads(feed.recv(TIMEOUT_S))["transfers"]
        assert (transfer["id"], transfer["to"], transfer["amount"]) == (sent, bob, 500)
        back = wallet(tmp_path, *url, "send", "bob.pem", ANN.address.hex(), "100", "--fee", "20")
        json.loads(feed.recv(TIMEOUT_S))
    assert wallet(tmp_path, *url, "balance", bob) == "380"
    assert wallet(tmp_path, *url, "status", back) == "accepted 2"
    assert wallet(tmp_path, *url, "history", bob).splitlines() == [f"1 {sent}", f"2 {back}"]
    assert wallet(tmp_path, *url, "send", "bob.pem", ANN.address.hex(), "1000") == (
        "1: error: the balance is too low (balance=380, missing=630)"
    )


def test_a_wallet_says_what_went_wrong(tmp_path: Path) -> None:
    assert "is the chain running" in wallet(tmp_path, "--url", "http://127.0.0.1:1", "balance", "00" * 20)
    assert "No such file" in wallet(tmp_path, "address", "none.pem")
    assert "invalid address (40 hexadecimal digits) value: '01'" in wallet(tmp_path, "balance", "01")
    wallet(tmp_path, "new", "key.pem")
    assert "File exists" in wallet(tmp_path, "new", "key.pem")


def test_refused_transfers_say_why(tokens: Tokens) -> None:
    good = tokens.transfer(ANN, BOB.address, 1, 0)
    elsewhere = Transfer(BOB.address, 1, FEE, 0).sign(ANN, ID(bytes(32)))
    results = tokens.submit(
        good,
        elsewhere,
        tokens.transfer(ANN, BOB.address, 1, 1, fee=FEE - 1),
        tokens.transfer(ANN, BOB.address, SUPPLY, 1),
        tokens.transfer(BOB, ANN.address, 0, 0),
    )
    assert results[0] == {"id": str(good.id), "error": None}
    assert [each["id"] for each in results[1:]] == [None] * 4
    assert "another chain" in results[1]["error"]
    assert results[2]["error"] == f"the fee is too low (fee={FEE - 1}, minimum={FEE})"
    assert results[3]["error"].startswith("the balance is too low (balance=")
    assert results[4]["error"] == f"the balance is too low (balance=1, missing={FEE - 1})"
    for raw in ("", good.raw.hex() + "00", good.raw.hex()[:-2]):
        response = httpx.post(tokens.url + "/transfers", json={"raw": [raw]}, timeout=TIMEOUT_S)
        assert response.json()[0]["error"]
    for raws in ([], ["zz"], ["0"]):
        response = httpx.post(tokens.url + "/transfers", json={"raw": raws}, timeout=TIMEOUT_S)
        assert response.status_code == 422
    for raw_text in (b"NaN", b'"\\ud800"'):
        body = b'{"raw": [%b]}' % raw_text
        headers = {"content-type": "application/json"}
        response = httpx.post(tokens.url + "/transfers", content=body, headers=headers, timeout=TIMEOUT_S)
        assert response.status_code == 422
    assert httpx.get(tokens.url + "/accounts/xyz", timeout=TIMEOUT_S).status_code == 422
    assert httpx.get(tokens.url + "/transfers/xyz", timeout=TIMEOUT_S).status_code == 400
    assert httpx.get(tokens.url + f"/transfers/{ID(bytes(32))}", timeout=TIMEOUT_S).status_code == 404


def test_a_transfer_waits_for_those_before_it_and_none_is_spent_twice(tokens: Tokens) -> None:
    transfers = [tokens.transfer(ANN, BOB.address, 10, nonce) for nonce in range(3)]
    late = tokens.submit(transfers[2])
    assert late[0]["error"] is None
    assert tokens.get(f"/transfers/{transfers[2].id}") == {"status": "waiting"}
    assert tokens.account(ANN) == {
        "address": ANN.address.hex(),
        "balance": SUPPLY,
        "nonce": 0,
        "next_nonce": 0,
    }
    with tokens.feed(1) as feed:
        tokens.submit(transfers[0], transfers[1])
        order: list[str] = []
        while len(order) < 3:
            order += [each["id"] for each in json.loads(feed.recv(TIMEOUT_S))["transfers"]]
    assert order == [str(each.id) for each in transfers]
    assert tokens.account(BOB)["balance"] == 30
    assert (tokens.account(ANN)["nonce"], tokens.account(ANN)["next_nonce"]) == (3, 3)
    assert "the nonce was used before" in tokens.submit(transfers[0])[0]["error"]


def test_accounts_survive_a_kill(tokens: Tokens, tmp_path: Path) -> None:
    with tokens.feed(1) as feed:
        tokens.submit(tokens.transfer(ANN, BOB.address, 77, 0))
        feed.recv(TIMEOUT_S)
    for process in psutil.Process(tokens.dev.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # its parent's end may have ended it
            process.send_signal(signal.SIGKILL)
    os.kill(tokens.dev.pid, signal.SIGKILL)
    tokens.dev.wait()
    restarted = Tokens(tmp_path)
    with restarted.dev:
        assert restarted.account(BOB)["balance"] == 77


def test_the_openapi_page_describes_the_app(tokens: Tokens) -> None:
    assert set(tokens.get("/openapi.json")["paths"]) == {
        "/chain",
        "/accounts/{address}",
        "/accounts/{address}/transfers",
        "/transfers",
        "/transfers/{transfer_id}",
        "/blocks/{height}",
    }
    assert tokens.get("/blocks/0")["transfers"] == []


KEYS = [ANN, BOB]
ADDRESSES = [ANN.address, BOB.address, bytes(20)]
HEADER = chain.Header(ID.EMPTY, 1, 0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 2),
            st.integers(0, 2**64 - 1) | st.integers(0, 300),
            st.integers(0, 40),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_token_is_made_or_lost_but_the_fees(transfers: list[tuple[int, int, int, int, int]]) -> None:
    state = chain.Overlay(AcceptedState(MemoryDatabase()))
    vm = TokensVM()
    vm.genesis(state, json.dumps(dict.fromkeys(map(bytes.hex, ADDRESSES[:2]), 500)).encode())
    burned, sent = 0, [0, 0]
    for who, to, amount, fee, nonce in transfers:
        tx = Transfer(ADDRESSES[to], amount, fee, nonce, public_key=KEYS[who].public_key, signature=bytes(64))
        before = ACCOUNTS.of(state)[tx.sender]
        try:
            vm.execute(state, tx, HEADER)
        except chain.Invalid:
            assert nonce != sent[who] or fee < MIN_FEE or amount + fee > before.balance
        else:
            assert (nonce, before.nonce) == (sent[who], sent[who])
            burned += fee
            sent[who] += 1
    accounts = [ACCOUNTS.of(state)[address] for address in ADDRESSES]
    assert sum(each.balance for each in accounts) == 1_000 - burned
    assert [each.nonce for each in accounts] == [*sent, 0]


def test_the_genesis_gives_out_no_more_than_can_be_counted() -> None:
    state = chain.Overlay(AcceptedState(MemoryDatabase()))
    with pytest.raises(ValueError, match="exceed"):
        TokensVM().genesis(state, json.dumps({"00" * 20: 2**63, "01" * 20: 2**63}).encode())


def test_the_rules_have_at_most_60_lines() -> None:
    rules = (Account, Transfer, TokensVM.genesis, TokensVM.execute)
    assert sum(len(inspect.getsource(each).splitlines()) for each in rules) <= 60
