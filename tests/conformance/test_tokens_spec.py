"""What a token chain promises, as its author would test it. With `--vm-process`: as a plugin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from vmsdk.chain import Invalid
from vmsdk.chain.keys import Ed25519Key, PrivateKey
from vmsdk.testing import Chain

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "tokens"))

from tokensvm import MIN_FEE, TokensVM, Transfer

ANN, BOB, EVE = (Ed25519Key.from_hex(digit * 64) for digit in "123")
SUPPLY = 1_000


@pytest.fixture
def vm() -> type[TokensVM]:
    return TokensVM


@pytest.fixture
def genesis() -> dict[str, int]:
    return {ANN.address.hex(): SUPPLY}


def transfer(chain: Chain, to: PrivateKey, amount: int, nonce: int = 0, by: PrivateKey = ANN) -> Transfer:
    return Transfer(to.address, amount, MIN_FEE, nonce).sign(by, chain.id)


def balance(chain: Chain, key: PrivateKey) -> Any:
    return chain.http.get(f"/api/accounts/{key.address.hex()}").json()["balance"]


def test_a_transfer_moves_tokens_and_burns_the_fee(chain: Chain) -> None:
    chain.produce(transfer(chain, BOB, 100))
    assert balance(chain, ANN) == SUPPLY - 100 - MIN_FEE
    assert balance(chain, BOB) == 100


def test_nobody_spends_more_than_they_have(chain: Chain) -> None:
    with pytest.raises(Invalid, match="the balance is too low"):
        chain.submit(transfer(chain, BOB, SUPPLY))


def test_a_transfer_counts_once(chain: Chain) -> None:
    paid = transfer(chain, BOB, 100)
    chain.produce(paid)
    with pytest.raises(Invalid, match="the nonce was used before"):
        chain.submit(paid)


def test_of_two_forks_one_counts(chain: Chain) -> None:
    chain.submit(transfer(chain, BOB, 100))
    a = chain.build()
    b = chain.fork(a.parent, [transfer(chain, EVE, 200)])
    assert chain.accept(b) == [a]
    assert balance(chain, EVE) == 200
    assert balance(chain, BOB) == 0


def test_balances_survive_restarts_and_kills(chain: Chain) -> None:
    chain.produce(transfer(chain, BOB, 100))
    chain.restart()
    chain.produce(transfer(chain, BOB, 100, nonce=1))
    chain.kill()
    chain.restart()
    assert balance(chain, BOB) == 200


def test_blocks_carry_the_time(chain: Chain) -> None:
    chain.time = 1_800_000_000
    first = chain.produce(transfer(chain, BOB, 1))
    chain.time += 10
    second = chain.produce(transfer(chain, BOB, 1, nonce=1))
    assert second.timestamp.seconds - first.timestamp.seconds == 10


def test_a_transfer_reaches_other_validators(chain: Chain) -> None:
    peer = chain.peer()
    chain.submit(transfer(chain, BOB, 100))
    chain.accept(chain.verify(peer.build().raw))
    assert balance(chain, BOB) == 100
