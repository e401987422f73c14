"""What a token chain promises, as its author would test it. With `--vm-process`: as a plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsdk.chain import Invalid
from vmsdk.chain.keys import Ed25519Key, PrivateKey
from vmsdk.testing import Chain, check, crash_test

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


def balance(chain: Chain, key: PrivateKey) -> int:
    return int(chain.http.get(f"/api/accounts/{key.address.hex()}").json()["balance"])


def test_a_transfer_moves_tokens_and_burns_the_fee(chain: Chain) -> None:
    chain.produce(transfer(chain, BOB, 100))
    assert (balance(chain, ANN), balance(chain, BOB)) == (SUPPLY - 100 - MIN_FEE, 100)


def test_nobody_spends_more_than_they_have(chain: Chain) -> None:
    with pytest.raises(Invalid, match="the balance is too low"):
        chain.submit(transfer(chain, BOB, SUPPLY))


def test_a_transfer_counts_once(chain: Chain) -> None:
    chain.produce(transfer(chain, BOB, 100))
    with pytest.raises(Invalid, match="the nonce was used before"):
        chain.submit(transfer(chain, BOB, 100))


def test_of_two_forks_one_counts(chain: Chain) -> None:
    chain.submit(transfer(chain, BOB, 100))
    a = chain.build()
    b = chain.fork(a.parent, [transfer(chain, EVE, 200)])
    assert chain.accept(b) == [a]
    assert (balance(chain, EVE), balance(chain, BOB)) == (200, 0)


def test_balances_survive_restarts_and_kills(chain: Chain) -> None:
    chain.produce(transfer(chain, BOB, 100))
    chain.restart()
    chain.produce(transfer(chain, BOB, 100, nonce=1))
    chain.kill()
    chain.restart()
    assert balance(chain, BOB) == 200


def test_blocks_carry_the_time(chain: Chain) -> None:
    chain.time = 1_800_000_000
    chain.produce(transfer(chain, BOB, 1))
    chain.time += 10
    assert chain.produce(transfer(chain, BOB, 1, nonce=1)).timestamp.seconds == 1_800_000_010


def test_a_transfer_reaches_other_validators(chain: Chain) -> None:
    peer = chain.peer()
    chain.submit(transfer(chain, BOB, 100))
    chain.accept(chain.verify(peer.build().raw))
    assert balance(chain, BOB) == 100


def test_it_survives_a_crash_at_every_write(make_chain: Callable[[], Chain]) -> None:
    def pay(chain: Chain) -> None:
        for nonce in range(2):
            chain.produce(transfer(chain, BOB, 100, nonce))

    crashes = crash_test(pay, make_chain)
    assert sum(point.what == "database write" for point in crashes) == 2 * 3  # genesis, two blocks


@pytest.mark.in_process
def test_it_passes_every_check_of_a_vm(genesis: dict[str, int]) -> None:
    check(TokensVM, genesis=genesis, txs=lambda chain: [transfer(chain, BOB, 10, n) for n in range(4)])
