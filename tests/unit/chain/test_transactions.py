"""Transactions: their bytes, IDs, signatures and kinds."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import field
from typing import Annotated, Any

import pytest

from vmsdk.chain.encoding import U64, Max
from vmsdk.chain.errors import Invalid
from vmsdk.chain.keys import Ed25519Key, PrivateKey, Secp256k1Key
from vmsdk.chain.transactions import Address, Signed, Transaction, parser
from vmsdk.codec import Writer
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID

CHAIN, OTHER_CHAIN = ID(b"\1" * 32), ID(b"\2" * 32)
KINDS = pytest.mark.parametrize("key", [Ed25519Key.generate(), Secp256k1Key.generate()])


class Entry(Transaction):
    text: Annotated[str, Max(140)]
    likes: U64 = 0

    def __post_init__(self) -> None:
        if self.text == "forbidden":
            raise ValueError("this text is forbidden")


class Transfer(Signed):
    tag = 3
    to: Address
    amount: U64
    nonce: U64 = 0

    @property
    def sequence(self) -> int:
        return self.nonce


class Mint(Signed):
    tag = 4
    amount: U64


class Burn(Signed):
    tag = 5
    amount: U64 = field(kw_only=True)


class AlsoMint(Transaction):
    tag = 4


TRANSFER = Transfer(bytes(20), 5, nonce=7)


def test_a_transaction_is_a_frozen_dataclass() -> None:
    entry = Entry("hello")
    assert (entry.likes, entry == Entry("hello"), hash(entry) == hash(Entry("hello"))) == (0, True, True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.text = "x"  # type: ignore[misc]


def test_its_bytes_are_version_tag_and_fields_and_its_id_their_hash() -> None:
    entry = Entry("hé", 1)
    assert entry.raw == Writer().version(0).type_id(0).string("hé").u64(1).getvalue()
    assert entry.id == ID.of(entry.raw)
    assert entry.raw is entry.raw
    assert Entry.from_bytes(entry.raw) == entry
    assert Entry.from_bytes(entry.raw).raw is entry.raw


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "don't begin like a Entry"),
        (Writer().version(1).type_id(0).string("a").u64(1).getvalue(), r"\(tag=0, begin=000100000000\)"),
        (Writer().version(0).type_id(1).string("a").u64(1).getvalue(), r"\(tag=0, begin=000000000001\)"),
        (Writer().version(0).type_id(0).string("a").getvalue(), "Entry.likes"),
        (Entry("a").raw + b"\0", "18 bytes, but the Entry ends at byte 17"),
        (Writer().version(0).type_id(0).string("a" * 141).u64(0).getvalue(), "Entry.text: a length of 141"),
        (Writer().version(0).type_id(0).string("forbidden").u64(0).getvalue(), "this text is forbidden"),
    ],
)
def test_other_bytes_are_invalid(raw: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        Entry.from_bytes(raw)


def test_a_value_that_does_not_fit_is_named() -> None:
    with pytest.raises(InvalidEncoding, match=r"Entry\.likes: -1 is not an integer of 64 bits"):
        Entry("a", -1).raw  # noqa: B018


def test_a_field_that_cant_be_encoded_is_refused_when_the_class_is_defined() -> None:
    with pytest.raises(TypeError, match=r"Bad\.price: float can't be encoded"):

        class Bad(Transaction):
            price: float

    with pytest.raises(TypeError, match="Bad2 in a union needs a number"):

        class Bad2(Transaction):
            tag = -1


@KINDS
def test_a_signature_comes_last_and_signs_domain_chain_and_the_rest(key: PrivateKey) -> None:
    signed = TRANSFER.sign(key, CHAIN)
    assert (signed.to, signed.amount, signed.nonce, signed.sequence) == (bytes(20), 5, 7, 7)
    assert signed.sender == hashlib.sha256(key.public_key).digest()[:20] == key.address
    fields = Writer().version(0).type_id(3).fixed(bytes(20)).u64(5).u64(7).getvalue()
    assert signed.raw == fields + key.public_key + signed.signature
    if isinstance(key, Ed25519Key):  # whose signatures are deterministic
        assert signed.signature == key.sign(Signed.DOMAIN + CHAIN + fields + key.public_key)
    decoded = Transfer.from_bytes(signed.raw)
    assert decoded == signed
    decoded.check(CHAIN)


@KINDS
def test_a_transaction_of_one_chain_is_invalid_on_another(key: PrivateKey) -> None:
    with pytest.raises(Invalid, match="or another chain") as caught:
        TRANSFER.sign(key, CHAIN).check(OTHER_CHAIN)
    assert f"sender={key.address.hex()}" in str(caught.value)


@KINDS
def test_changing_any_byte_makes_it_invalid(key: PrivateKey) -> None:
    raw = TRANSFER.sign(key, CHAIN).raw
    for i in range(len(raw)):
        changed = raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]
        with pytest.raises(Invalid):
            Transfer.from_bytes(changed).check(CHAIN)


def test_a_signature_covers_the_kind() -> None:
    class Pay(Signed):
        tag = 9
        to: Address
        amount: U64
        nonce: U64 = 0

    key = Ed25519Key.generate()
    signed = TRANSFER.sign(key, CHAIN)
    other = Pay(bytes(20), 5, 7, public_key=key.public_key, signature=signed.signature)
    with pytest.raises(Invalid):
        other.check(CHAIN)


def test_the_signature_comes_after_keyword_only_fields_too() -> None:
    signed = Burn(amount=5).sign(Ed25519Key.generate(), CHAIN)
    assert signed.raw[-64:] == signed.signature
    assert Burn.from_bytes(signed.raw) == signed


def test_an_unsigned_one_says_so() -> None:
    for use in (lambda: TRANSFER.sender, lambda: TRANSFER.check(CHAIN)):
        with pytest.raises(Invalid, match="the Transfer is not signed: call sign"):
            use()


def test_signing_again_replaces_the_signature() -> None:
    first, second = Ed25519Key.generate(), Secp256k1Key.generate()
    signed = TRANSFER.sign(first, CHAIN).sign(second, CHAIN)
    signed.check(CHAIN)
    assert signed.sender == second.address


def test_parser_of_bytes_of_one_kind_and_of_several() -> None:
    key = Ed25519Key.generate()
    transfer, mint = TRANSFER.sign(key, CHAIN), Mint(5).sign(key, CHAIN)
    assert parser(bytes)(b"x") == b"x"
    assert parser(Transfer)(transfer.raw) == transfer
    parse = parser(Transfer | Mint)
    assert (parse(transfer.raw), parse(mint.raw)) == (transfer, mint)
    with pytest.raises(Invalid, match="unknown kind of transaction"):
        parse(Entry("a").raw)
    with pytest.raises(Invalid):
        parser(Transfer)(mint.raw)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Mint | AlsoMint, "Mint and AlsoMint both have the tag 4: change one"),
        (str, "is not a kind of transaction: give bytes"),
        (Mint | None, "is not a kind of transaction"),
        ("Mint", "is not a kind of transaction"),
    ],
)
def test_parser_refuses_what_is_not_a_kind_of_transaction(kind: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        parser(kind)


def test_a_transaction_with_slots_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Decorated: leave out `slots=True`"):

        @dataclasses.dataclass(frozen=True, slots=True)
        class Decorated(Signed):
            amount: U64


@pytest.mark.parametrize("options", [{}, {"order": True}, {"kw_only": True}, {"repr": False}])
def test_a_transaction_may_have_the_decorator_of_a_dataclass(options: dict[str, bool]) -> None:
    @dataclasses.dataclass(frozen=True, **options)
    class Decorated(Signed):
        amount: U64
        note: Annotated[str, Max(9)] = "none"

    tx = Decorated(amount=7)
    key = Ed25519Key.generate()
    signed = tx.sign(key, CHAIN)
    assert Decorated.from_bytes(signed.raw) == signed
    signed.check(CHAIN)
    assert (signed.amount, signed.note, signed.sender) == (7, "none", key.address)
    assert len({tx, Decorated(amount=7)}) == 1


@pytest.mark.parametrize("name", ["text", "likes", "other", "raw"])
def test_no_attribute_of_a_transaction_can_be_set_or_deleted(name: str) -> None:
    entry = Entry("a")
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(entry, name, "b")
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(entry, name)
    assert entry == Entry("a")
