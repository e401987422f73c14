"""P-chain transactions, by the bytes and signatures that AvalancheGo 1.14.2's own code makes of the same values."""

from __future__ import annotations

import hashlib
import time

import pytest

from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID, vm_id
from vmsdk.network.errors import NotEnoughFunds
from vmsdk.network.transactions import (
    UTXO,
    CreateChain,
    CreateSubnet,
    Input,
    Output,
    Owner,
    Payment,
    Signed,
    unsigned_bytes,
)
from vmsdk.network.wallet import (
    FEE,
    LOCAL_ADDRESS,
    LOCAL_ASSET_ID,
    LOCAL_KEY,
    Wallet,
    address_bytes,
    change_of,
    genesis_utxos,
)

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


def utxo(amount: int, owner: Owner | None = None, index: int = 0, asset_id: ID = LOCAL_ASSET_ID) -> UTXO:
    return UTXO(ID.EMPTY, index, Output(asset_id, amount, owner or Wallet().owner))


def signed_subnet() -> Signed:
    wallet = Wallet()
    return wallet.sign(CreateSubnet(wallet.pay(genesis_utxos()), wallet.owner))


def signed_chain() -> Signed:
    wallet, subnet = Wallet(), signed_subnet()
    payment = wallet.pay(change_of(subnet))
    return wallet.sign(CreateChain(payment, subnet.id, "my chain", vm_id("timestampvm"), b"genesis"))


def test_a_subnet_is_made_by_the_bytes_that_a_node_makes() -> None:
    assert signed_subnet().to_bytes() == CREATE_SUBNET
    assert str(signed_subnet().id) == SUBNET_ID


def test_a_chain_is_made_by_the_bytes_that_a_node_makes() -> None:
    assert signed_chain().to_bytes() == CREATE_CHAIN
    assert str(signed_chain().id) == CHAIN_ID


def test_each_of_several_inputs_is_signed_for() -> None:
    wallet = Wallet()
    payment = wallet.pay([utxo(600_000_000, index=1), utxo(600_000_000, index=0)])
    signed = wallet.sign(CreateSubnet(payment, wallet.owner))
    assert signed.to_bytes() == TWO_INPUTS
    assert str(signed.id) == TWO_INPUTS_ID


@pytest.mark.parametrize(
    "data", [CREATE_SUBNET, CREATE_CHAIN, TWO_INPUTS], ids=["subnet", "chain", "two inputs"]
)
class TestDecoding:
    def test_gives_what_encodes_to_the_same_bytes(self, data: bytes) -> None:
        assert Signed.from_bytes(data).to_bytes() == data

    def test_refuses_bytes_cut_off_anywhere(self, data: bytes) -> None:
        for length in range(len(data)):
            with pytest.raises(InvalidEncoding):
                Signed.from_bytes(data[:length])

    def test_refuses_bytes_that_follow(self, data: bytes) -> None:
        with pytest.raises(InvalidEncoding, match="trailing"):
            Signed.from_bytes(data + b"\0")

    def test_refuses_another_codec_version(self, data: bytes) -> None:
        with pytest.raises(InvalidEncoding, match="codec version"):
            Signed.from_bytes(b"\0\1" + data[2:])

    def test_refuses_another_type_of_transaction(self, data: bytes) -> None:
        with pytest.raises(InvalidEncoding, match="unknown type ID 12"):
            Signed.from_bytes(data[:2] + (12).to_bytes(4, "big") + data[6:])


def test_a_chain_is_decoded_field_by_field() -> None:
    chain = Signed.from_bytes(CREATE_CHAIN).unsigned
    assert isinstance(chain, CreateChain)
    assert (str(chain.subnet_id), chain.name, chain.vm_id, chain.genesis) == (
        SUBNET_ID,
        "my chain",
        vm_id("timestampvm"),
        b"genesis",
    )
    assert chain.payment.inputs[0].amount - chain.payment.outputs[0].amount == FEE


def test_a_missing_credential_is_told() -> None:
    signed = signed_chain()
    short = Signed(signed.unsigned, signed.credentials[:1])
    with pytest.raises(InvalidEncoding, match="1 instead of 2"):
        Signed.from_bytes(short.to_bytes())


def test_a_memo_is_refused_as_nodes_refuse_it() -> None:
    unsigned = unsigned_bytes(CreateSubnet(Payment(12345, (), ()), Wallet().owner))
    with_memo = unsigned.replace(
        bytes(12) + (11).to_bytes(4, "big"), bytes(8) + b"\0\0\0\1!" + (11).to_bytes(4, "big")
    )
    with pytest.raises(InvalidEncoding, match="memo is not empty"):
        Signed.from_bytes(with_memo + bytes(4))


def test_inputs_out_of_order_are_refused() -> None:
    spent = [Input(ID.EMPTY, index, LOCAL_ASSET_ID, 1) for index in (1, 0)]
    unordered = CreateSubnet(Payment(12345, tuple(spent), ()), Wallet().owner)
    with pytest.raises(InvalidEncoding, match="inputs not sorted"):
        Signed.from_bytes(Wallet().sign(unordered).to_bytes())


def test_an_unspent_output_is_read_as_nodes_write_it() -> None:
    output = Output(LOCAL_ASSET_ID, 5, owned_by(address_bytes(LOCAL_ADDRESS), locktime_s=7))
    assert UTXO.from_bytes(UTXO_BYTES) == UTXO(ID.from_string(SUBNET_ID), 3, output)
    assert UTXO.from_bytes(UTXO_BYTES).to_bytes() == UTXO_BYTES


def test_an_output_of_another_type_is_told_from_a_transfer() -> None:
    assert UTXO.is_transfer(UTXO_BYTES)
    locked = UTXO_BYTES[:70] + (22).to_bytes(4, "big") + UTXO_BYTES[74:]
    assert not UTXO.is_transfer(locked)
    with pytest.raises(InvalidEncoding, match="unknown type ID 22"):
        UTXO.from_bytes(locked)


def test_owners_must_be_sorted_and_enough() -> None:
    for owner, rule in [
        (owned_by(b"\1" * 20, b"\0" * 20), "not sorted"),
        (owned_by(OTHER_ADDRESS, OTHER_ADDRESS), "not sorted"),
        (owned_by(OTHER_ADDRESS, threshold=2), "unspendable"),
    ]:
        with pytest.raises(InvalidEncoding, match=rule):
            UTXO.from_bytes(utxo(1, owner).to_bytes())


class TestPaying:
    def test_takes_the_largest_and_gives_back_the_rest(self) -> None:
        payment = Wallet().pay([utxo(FEE, index=0), utxo(3 * FEE, index=1)])
        assert [spent.index for spent in payment.inputs] == [1]
        assert [output.amount for output in payment.outputs] == [2 * FEE]

    def test_leaves_no_output_of_nothing(self) -> None:
        assert Wallet().pay([utxo(FEE)]).outputs == ()

    def test_says_what_is_needed_and_what_there_is(self) -> None:
        with pytest.raises(NotEnoughFunds) as caught:
            Wallet().pay([utxo(FEE - 1)])
        assert (caught.value.needed, caught.value.available) == (FEE, FEE - 1)

    def test_does_not_touch_what_it_may_not_spend_alone_and_now(self) -> None:
        mine = address_bytes(LOCAL_ADDRESS)
        not_spendable = [
            utxo(FEE, owned_by(OTHER_ADDRESS)),
            utxo(FEE, owned_by(OTHER_ADDRESS, mine, threshold=2)),
            utxo(FEE, owned_by(mine, locktime_s=int(time.time()) + 3600)),
            utxo(FEE, asset_id=ID.EMPTY),
        ]
        with pytest.raises(NotEnoughFunds, match="0 can be spent"):
            Wallet().pay(not_spendable)

    def test_signs_at_its_own_place_among_several_owners(self) -> None:
        shared = utxo(FEE, owned_by(OTHER_ADDRESS, address_bytes(LOCAL_ADDRESS)))
        assert Wallet().pay([shared]).inputs[0].signature_indices == (1,)


def test_the_address_is_that_of_the_key() -> None:
    coincurve = pytest.importorskip("coincurve")
    try:
        hashlib.new("ripemd160")
    except ValueError:
        pytest.skip("this OpenSSL has no RIPEMD-160")
    public_key = coincurve.PrivateKey(LOCAL_KEY).public_key.format()
    assert hashlib.new("ripemd160", hashlib.sha256(public_key).digest()).digest() == address_bytes(
        LOCAL_ADDRESS
    )
