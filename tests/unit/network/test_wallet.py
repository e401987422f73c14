"""P-chain transactions, by the bytes and signatures that AvalancheGo 1.14.2's own code makes of the
same values.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import ecdsa  # type: ignore[import-untyped]
import pytest

from vmsdk.codec import Reader
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID, NodeID, vm_id
from vmsdk.network.errors import NetworkError
from vmsdk.network.wallet import (
    FEE,
    LOCAL_ADDRESS,
    LOCAL_KEY,
    UTXO,
    VALIDATOR_BALANCE,
    Transaction,
    Validator,
    Wallet,
)

# Of AvalancheGo's local genesis, which the bytes below were made on. Other nodes have others.
ASSET_ID = ID.from_string("2fombhL7aGPwj3KH4bfrmJwW6PVnMobf9Y2fn9GwxiAAJyFDbe")
NETWORK_ID = 12345
SUBNET_ID = "fwmKWLVCppLsxEc3VRVK6p2MBEzxnfrwvv6FTWgaB9ztMH6F5"
CREATE_SUBNET = bytes.fromhex(
    "00000000001000003039000000000000000000000000000000000000000000000000000000000000000000000001dbcf"
    "890f77f49b96857648b72b77f9f82937f28a68704af05da0dc12ba53f2db0000000700470de4a3e73600000000000000"
    "000000000001000000013cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c000000010000000000000000000000000000"
    "00000000000000000000000000000000000000000000dbcf890f77f49b96857648b72b77f9f82937f28a68704af05da0"
    "dc12ba53f2db0000000500470de4df8200000000000100000000000000000000000b0000000000000000000000010000"
    "00013cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c0000000100000009000000010afb62c9c554bc26903279d51f82"
    "970b0e5b7968471df0945510820dbf18eca8677f808fdb0c15e8fceb3288c910ab683606b31d6f08a361c87cdc9ef37a"
    "91eb00"
)
CHAIN_ID = "2bfGUHoQj7Dwgf3ZA3FQxziXbqF2QGehbJznKnNLCo4jBimrVS"
CREATE_CHAIN = bytes.fromhex(
    "00000000000f00003039000000000000000000000000000000000000000000000000000000000000000000000001dbcf"
    "890f77f49b96857648b72b77f9f82937f28a68704af05da0dc12ba53f2db0000000700470de4684c6c00000000000000"
    "000000000001000000013cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c00000001586d769560ff57008801f6b79bfa"
    "b73f784d1619008dc898245e327906d7d2a200000000dbcf890f77f49b96857648b72b77f9f82937f28a68704af05da0"
    "dc12ba53f2db0000000500470de4a3e73600000000010000000000000000586d769560ff57008801f6b79bfab73f784d"
    "1619008dc898245e327906d7d2a200086d7920636861696e74696d657374616d70766d00000000000000000000000000"
    "0000000000000000000000000000000767656e657369730000000a0000000100000000000000020000000900000001d6"
    "574eaa4a1f043a3b4c0049593740cacf96c345214c39ba0c11d2c1328f7fa2098b1fdf6209bbbd41d7d044dd49f024d9"
    "d4bdc79915a28587001b2fe4b00cef000000000900000001d6574eaa4a1f043a3b4c0049593740cacf96c345214c39ba"
    "0c11d2c1328f7fa2098b1fdf6209bbbd41d7d044dd49f024d9d4bdc79915a28587001b2fe4b00cef00"
)
TWO_INPUTS_ID = "2X1u9c1U5hqzs32aB3vjFdQBEZDvRdTeqpQbdXTwymBx1MAm5D"
TWO_INPUTS = bytes.fromhex(
    "00000000001000003039000000000000000000000000000000000000000000000000000000000000000000000001dbcf"
    "890f77f49b96857648b72b77f9f82937f28a68704af05da0dc12ba53f2db00000007000000000bebc200000000000000"
    "000000000001000000013cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c000000020000000000000000000000000000"
    "00000000000000000000000000000000000000000000dbcf890f77f49b96857648b72b77f9f82937f28a68704af05da0"
    "dc12ba53f2db000000050000000023c34600000000010000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000001dbcf890f77f49b96857648b72b77f9f82937f28a68704af05da0dc12ba53f2db0000"
    "00050000000023c346000000000100000000000000000000000b000000000000000000000001000000013cb7d3842e8c"
    "ee6a0ebd09f1fe884f6861e1b29c000000020000000900000001b58148e1047146f191c4f094bf60753760ce0ece69c2"
    "80f9b702c0914f3e132940079d165bf11b734cedbab42036274773858dc107498875d01d80e98c4adc64000000000900"
    "000001b58148e1047146f191c4f094bf60753760ce0ece69c280f9b702c0914f3e132940079d165bf11b734cedbab420"
    "36274773858dc107498875d01d80e98c4adc6400"
)
UTXO_BYTES = bytes.fromhex(
    "0000586d769560ff57008801f6b79bfab73f784d1619008dc898245e327906d7d2a200000003dbcf890f77f49b968576"
    "48b72b77f9f82937f28a68704af05da0dc12ba53f2db0000000700000000000000050000000000000007000000010000"
    "00013cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c"
)
OTHER_ADDRESS = bytes(20)


def utxo(amount: int, index: int = 0, asset_id: ID = ASSET_ID, **owner: Any) -> UTXO:
    return UTXO(ID.EMPTY, index, asset_id, amount, **owner)


@pytest.fixture(scope="module")
def wallet() -> Wallet:
    return Wallet(NETWORK_ID)


@pytest.fixture(scope="module")
def subnet(wallet: Wallet) -> Transaction:
    return wallet.create_subnet([utxo(20_000_000 * 10**9)])


def test_a_subnet_is_created_by_the_bytes_that_a_node_makes(subnet: Transaction) -> None:
    assert subnet.raw == CREATE_SUBNET
    assert str(subnet.id) == SUBNET_ID


def test_a_chain_is_created_by_the_bytes_that_a_node_makes(wallet: Wallet, subnet: Transaction) -> None:
    chain = wallet.create_chain(subnet.change, subnet.id, "my chain", vm_id("timestampvm"), b"genesis")
    assert chain.raw == CREATE_CHAIN
    assert str(chain.id) == CHAIN_ID


def test_a_subnet_gets_its_validators_in_the_order_of_their_ids(wallet: Wallet, subnet: Transaction) -> None:
    members = [Validator(NodeID(bytes([number] * 20)), number, bytes([number] * 144)) for number in (2, 1)]
    funds = utxo(FEE + 2 * VALIDATOR_BALANCE + 5)
    transaction = wallet.convert_subnet([funds], subnet.id, ID.from_string(CHAIN_ID), members)
    assert transaction.change == (UTXO(transaction.id, 0, ASSET_ID, 5),)
    owner = "0000000100000001" + LOCAL_ADDRESS.hex()
    validators = "".join(
        f"00000014{bytes([number] * 20).hex()}{number:016x}{VALIDATOR_BALANCE:016x}"
        f"{bytes([number] * 144).hex()}{owner}{owner}"
        for number in (1, 2)
    )
    subnet_and_chain = f"{subnet.id.hex()}{ID.from_string(CHAIN_ID).hex()}"
    # No memo and no address of a manager; the subnet's owner authorises it.
    expected = f"00000000{subnet_and_chain}0000000000000002{validators}0000000a0000000100000000"
    assert transaction.raw[2:6] == (35).to_bytes(4, "big")
    assert expected in transaction.raw.hex()
    with pytest.raises(NetworkError, match=f"costs {funds.amount - 5}, and only {FEE} can be spent"):
        wallet.convert_subnet([utxo(FEE)], subnet.id, ID.from_string(CHAIN_ID), members)


def test_each_of_several_inputs_is_signed_for(wallet: Wallet) -> None:
    transaction = wallet.create_subnet([utxo(600_000_000, index=1), utxo(600_000_000, index=0)])
    assert transaction.raw == TWO_INPUTS
    assert str(transaction.id) == TWO_INPUTS_ID


def test_every_signature_recovers_the_key_by_its_last_byte(wallet: Wallet) -> None:
    public_key = ecdsa.SigningKey.from_string(LOCAL_KEY, ecdsa.SECP256k1).verifying_key
    seen = set()
    for amount in range(FEE, FEE + 16):
        raw = wallet.create_subnet([utxo(amount)]).raw
        # The one credential comes last: a count, a type, a count and the signature.
        unsigned, signature = raw[: -(4 + 4 + 4 + 65)], raw[-65:]
        keys = ecdsa.VerifyingKey.from_public_key_recovery_with_digest(
            signature[:64], hashlib.sha256(unsigned).digest(), ecdsa.SECP256k1, hashlib.sha256
        )
        assert keys[signature[64]].to_string() == public_key.to_string()
        # Nodes refuse the other solution, whose s is in the upper half.
        assert int.from_bytes(signature[32:64], "big") <= ecdsa.SECP256k1.order // 2
        seen.add(signature[64])
    assert seen == {0, 1}


class TestUnspentOutputs:
    def test_are_read_as_nodes_write_them(self) -> None:
        expected = UTXO(ID.from_string(SUBNET_ID), 3, ASSET_ID, 5, (LOCAL_ADDRESS,), locktime_s=7)
        assert UTXO.from_bytes(UTXO_BYTES) == expected

    def test_of_another_type_than_a_transfer_are_left_out(self) -> None:
        assert UTXO.from_bytes(UTXO_BYTES[:70] + (22).to_bytes(4, "big") + UTXO_BYTES[74:]) is None

    def test_that_are_cut_off_anywhere_or_too_long_are_refused(self) -> None:
        for data in [*(UTXO_BYTES[:length] for length in range(len(UTXO_BYTES))), UTXO_BYTES + b"!"]:
            with pytest.raises(InvalidEncoding):
                UTXO.from_bytes(data)


class TestPaying:
    def test_takes_the_largest_and_gives_back_the_rest(self, wallet: Wallet) -> None:
        transaction = wallet.create_subnet([utxo(FEE, index=0), utxo(3 * FEE, index=1)])
        assert spent_by(transaction) == [(1, 3 * FEE, 0)]
        assert transaction.change == (UTXO(transaction.id, 0, ASSET_ID, 2 * FEE),)

    def test_is_in_the_asset_of_the_outputs(self, wallet: Wallet) -> None:
        asset = ID(b"M" * 32)
        transaction = wallet.create_subnet([utxo(3 * FEE, asset_id=asset)])
        assert transaction.raw.count(asset) == 2
        assert transaction.change[0].asset_id == asset

    def test_leaves_no_output_of_nothing(self, wallet: Wallet) -> None:
        transaction = wallet.create_subnet([utxo(FEE)])
        assert transaction.change == ()
        assert spent_by(transaction) == [(0, FEE, 0)]

    def test_says_what_is_needed_and_what_there_is(self, wallet: Wallet) -> None:
        with pytest.raises(NetworkError, match=f"costs {FEE}, and only {FEE - 1} can be spent"):
            wallet.create_subnet([utxo(FEE - 1)])

    def test_does_not_touch_what_it_may_not_spend_alone_and_now(self, wallet: Wallet) -> None:
        not_spendable = [
            utxo(FEE, addresses=(OTHER_ADDRESS,)),
            utxo(FEE, addresses=(OTHER_ADDRESS, LOCAL_ADDRESS), threshold=2),
            utxo(FEE, locktime_s=int(time.time()) + 3600),
        ]
        with pytest.raises(NetworkError, match="only 0 can be spent"):
            wallet.create_subnet(not_spendable)

    def test_signs_at_its_own_place_among_several_owners(self, wallet: Wallet) -> None:
        shared = utxo(FEE, addresses=(OTHER_ADDRESS, LOCAL_ADDRESS))
        assert spent_by(wallet.create_subnet([shared])) == [(0, FEE, 1)]


def spent_by(transaction: Transaction) -> list[tuple[int, int, int]]:
    """The inputs: index of the output, amount, and place of the signer among its owners."""
    reader = Reader(transaction.raw)
    reader.fixed(2 + 4 + 4 + 32)
    for _ in range(reader.count()):
        reader.fixed(32 + 4 + 8 + 8 + 4 + 4 + 20)
    inputs = []
    for _ in range(reader.count()):
        reader.fixed(32)
        index = reader.u32()
        reader.fixed(32 + 4)
        amount = reader.u64()
        (signer,) = reader.sequence(Reader.u32)
        inputs.append((index, amount, signer))
    return inputs


def test_the_address_is_that_of_the_key() -> None:
    try:
        hashlib.new("ripemd160")
    except ValueError:
        pytest.skip("this OpenSSL has no RIPEMD-160")
    public_key = ecdsa.SigningKey.from_string(LOCAL_KEY, ecdsa.SECP256k1).verifying_key.to_string(
        "compressed"
    )
    digest = hashlib.sha256(public_key).digest()
    assert hashlib.new("ripemd160", digest).digest() == LOCAL_ADDRESS
