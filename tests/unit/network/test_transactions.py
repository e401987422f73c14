"""P-chain transactions, by the bytes and signatures that AvalancheGo 1.14.2's own code makes of the same values."""

from __future__ import annotations

import hashlib
import time

import ecdsa  # type: ignore[import-untyped]
import pytest

from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID, vm_id
from vmsdk.network.chain import NewChain
from vmsdk.network.errors import NetworkError
from vmsdk.network.pchain import Birth
from vmsdk.network.transactions import UTXO, CreateSubnet, Output, Owner, Signed
from vmsdk.network.wallet import FEE, LOCAL_ADDRESS, LOCAL_KEY, OWNER, Wallet

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


def owned_by(*addresses: bytes, threshold: int = 1, locktime_s: int = 0) -> Owner:
    return Owner(addresses, threshold, locktime_s)


def utxo(amount: int, owner: Owner = OWNER, index: int = 0, asset_id: ID = ASSET_ID) -> UTXO:
    return UTXO(ID.EMPTY, index, Output(asset_id, amount, owner))


@pytest.fixture(scope="module")
def wallet() -> Wallet:
    return Wallet(NETWORK_ID)


@pytest.fixture(scope="module")
def birth(wallet: Wallet) -> Birth:
    new = NewChain("m:TimestampVM", "my-chain", genesis=b"genesis")
    return Birth.plan(new, vm_id("timestampvm"), wallet, [utxo(20_000_000 * 10**9)])


def test_a_subnet_is_created_by_the_bytes_that_a_node_makes(birth: Birth) -> None:
    assert birth.create_subnet.to_bytes() == CREATE_SUBNET
    assert str(birth.subnet_id) == SUBNET_ID


def test_a_chain_is_created_by_the_bytes_that_a_node_makes(birth: Birth) -> None:
    assert birth.create_chain.to_bytes() == CREATE_CHAIN
    assert str(birth.chain_id) == CHAIN_ID


def test_each_of_several_inputs_is_signed_for(wallet: Wallet) -> None:
    payment = wallet.pay([utxo(600_000_000, index=1), utxo(600_000_000, index=0)])
    signed = wallet.sign(CreateSubnet(payment, OWNER))
    assert signed.to_bytes() == TWO_INPUTS
    assert str(signed.id) == TWO_INPUTS_ID


def test_every_signature_recovers_the_key_by_its_last_byte(wallet: Wallet) -> None:
    public_key = ecdsa.SigningKey.from_string(LOCAL_KEY, ecdsa.SECP256k1).verifying_key
    seen = set()
    for amount in range(FEE, FEE + 16):
        signed = wallet.sign(CreateSubnet(wallet.pay([utxo(amount)]), OWNER))
        digest = hashlib.sha256(unsigned_part(signed)).digest()
        ((signature,),) = signed.credentials
        keys = ecdsa.VerifyingKey.from_public_key_recovery_with_digest(
            signature[:64], digest, ecdsa.SECP256k1, hashlib.sha256
        )
        assert keys[signature[64]].to_string() == public_key.to_string()
        # Nodes refuse the other solution, whose s is in the upper half.
        assert int.from_bytes(signature[32:64], "big") <= ecdsa.SECP256k1.order // 2
        seen.add(signature[64])
    assert seen == {0, 1}


def unsigned_part(signed: Signed) -> bytes:
    """The signed bytes without the one credential: its count, type, count and signature."""
    return signed.to_bytes()[: -(4 + 4 + 4 + 65)]


class TestUnspentOutputs:
    def test_are_read_as_nodes_write_them(self) -> None:
        output = Output(ASSET_ID, 5, owned_by(LOCAL_ADDRESS, locktime_s=7))
        assert UTXO.from_bytes(UTXO_BYTES) == UTXO(ID.from_string(SUBNET_ID), 3, output)

    def test_of_another_type_than_a_transfer_are_left_out(self) -> None:
        assert UTXO.from_bytes(UTXO_BYTES[:70] + (22).to_bytes(4, "big") + UTXO_BYTES[74:]) is None

    def test_that_are_cut_off_anywhere_or_too_long_are_refused(self) -> None:
        for data in [*(UTXO_BYTES[:length] for length in range(len(UTXO_BYTES))), UTXO_BYTES + b"!"]:
            with pytest.raises(InvalidEncoding):
                UTXO.from_bytes(data)


class TestPaying:
    def test_takes_the_largest_and_gives_back_the_rest(self, wallet: Wallet) -> None:
        payment = wallet.pay([utxo(FEE, index=0), utxo(3 * FEE, index=1)])
        assert [spent.index for spent in payment.inputs] == [1]
        assert [output.amount for output in payment.outputs] == [2 * FEE]

    def test_is_in_the_asset_of_the_outputs(self, wallet: Wallet) -> None:
        asset = ID(b"M" * 32)
        payment = wallet.pay([utxo(3 * FEE, asset_id=asset)])
        assert {spent.asset_id for spent in payment.inputs} == {asset}
        assert {output.asset_id for output in payment.outputs} == {asset}

    def test_leaves_no_output_of_nothing(self, wallet: Wallet) -> None:
        assert wallet.pay([utxo(FEE)]).outputs == ()

    def test_says_what_is_needed_and_what_there_is(self, wallet: Wallet) -> None:
        with pytest.raises(NetworkError, match=f"costs {FEE}, and only {FEE - 1} can be spent"):
            wallet.pay([utxo(FEE - 1)])

    def test_does_not_touch_what_it_may_not_spend_alone_and_now(self, wallet: Wallet) -> None:
        not_spendable = [
            utxo(FEE, owned_by(OTHER_ADDRESS)),
            utxo(FEE, owned_by(OTHER_ADDRESS, LOCAL_ADDRESS, threshold=2)),
            utxo(FEE, owned_by(LOCAL_ADDRESS, locktime_s=int(time.time()) + 3600)),
        ]
        with pytest.raises(NetworkError, match="only 0 can be spent"):
            wallet.pay(not_spendable)

    def test_signs_at_its_own_place_among_several_owners(self, wallet: Wallet) -> None:
        shared = utxo(FEE, owned_by(OTHER_ADDRESS, LOCAL_ADDRESS))
        assert wallet.pay([shared]).inputs[0].signature_indices == (1,)


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
