"""Transactions: dataclasses with an encoding, whose hash is their ID.

    class Transfer(Signed):
        to: Address
        amount: U64
        nonce: U64

A transaction is encoded as an interface in the nodes' Go codec: the codec version (u16, 0), the tag
(u32), the fields. A signed one ends with the public key (33 bytes) and the signature (64 bytes).
"""

from __future__ import annotations

import functools
import struct
import types
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from typing_extensions import Self, dataclass_transform

from vmsdk.chain import keys
from vmsdk.chain.encoding import Bytes20, Encoding, Fixed, record, tagged
from vmsdk.chain.errors import Invalid
from vmsdk.chain.overrides import must_extend
from vmsdk.ids import ID

Address = Bytes20
"""The first 20 bytes of the SHA-256 of a public key."""

_HEAD = struct.Struct(">HI")
_VERSION = 0


class _Frozen:
    """Refuses changes of all attributes. A frozen dataclass refuses only those of its fields."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class Transaction(_Frozen):
    """The base of a chain's transactions. Each subclass becomes a frozen dataclass, without a
    decorator.

    Fields have the annotations of `vmsdk.chain.encoding`; others raise `TypeError` when the class
    is defined.
    """

    tag: ClassVar[int] = 0
    """Distinguishes the kinds of a chain's transactions. Never change it: it is encoded."""
    _encoding: ClassVar[Encoding[Any]]
    _head: ClassVar[bytes]
    _last: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        must_extend(cls, ("check",))
        if "__dataclass_fields__" in vars(cls):  # @dataclass(slots=True) makes the class again
            raise TypeError(
                f"{cls.__name__}: leave out `slots=True`: super() fails in such classes before Python 3.14, "
                "and a transaction keeps its bytes in a __dict__ anyway"
            )
        dataclass(frozen=True)(cls)
        # _Frozen has these, too, and an author's own @dataclass(frozen=True) refuses existing ones.
        for name in ("__setattr__", "__delattr__"):
            delattr(cls, name)
        for each in fields(cls):
            for base in cls.__mro__[1:]:
                inherited = getattr(base, "__dataclass_fields__", {}).get(each.name)
                if base.__module__ == __name__ and each.name in vars(base) and inherited is not each:
                    raise TypeError(
                        f"{cls.__name__}.{each.name} hides {base.__name__}.{each.name}: give the field "
                        "another name"
                    )
        cls._encoding = record(cls, cls._last)
        tagged([cls], cls.__name__)
        cls._head = _HEAD.pack(_VERSION, cls.tag)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Decode a transaction. Raises `Invalid` unless *raw* is exactly its encoding."""
        if raw[: _HEAD.size] != cls._head:
            if not isinstance(raw, bytes):
                raise TypeError(f"{cls.__name__}.from_bytes takes bytes, not a {type(raw).__name__}")
            raise Invalid(
                f"the bytes don't begin like a {cls.__name__}, with codec version {_VERSION} and its tag",
                tag=cls.tag,
                begin=raw[: _HEAD.size].hex(),
            )
        try:
            transaction, end = cls._encoding.read(raw, _HEAD.size)
        except ValueError as error:  # InvalidEncoding, or from the author's __post_init__
            raise Invalid(str(error)) from None
        if end != len(raw):
            raise Invalid(f"{len(raw)} bytes, but the {cls.__name__} ends at byte {end}")
        transaction.__dict__["raw"] = raw
        return transaction  # type: ignore[no-any-return]

    @cached_property
    def raw(self) -> bytes:
        """The encoding. Raises `InvalidEncoding` if a field's value isn't of the annotated type."""
        return self._head + self._encoding.encode(self)

    @cached_property
    def id(self) -> ID:
        """The SHA-256 of `raw`."""
        return ID.of(self.raw)


class Signed(Transaction):
    """The base of transactions signed by their sender, with the keys of `vmsdk.chain.keys`.

    The signed message is `DOMAIN`, the chain's ID, and `raw` without the signature, so a
    transaction is valid on one chain only. Only the signer can change any byte of a valid one.
    """

    DOMAIN: ClassVar[bytes] = b"vmsdk signed transaction\n"
    _last = ("public_key", "signature")

    public_key: Annotated[bytes, Fixed(keys.PUBLIC_KEY_BYTES)] = field(default=b"", kw_only=True, repr=False)
    signature: Annotated[bytes, Fixed(keys.SIGNATURE_BYTES)] = field(default=b"", kw_only=True, repr=False)

    @cached_property
    def sender(self) -> bytes:
        """The address of the public key. Only `check` verifies the signature."""
        self._must_be_signed()
        return keys.address_of(self.public_key)

    def sign(self, key: keys.PrivateKey, chain_id: ID) -> Self:
        """Return a copy that is signed with *key* for the chain *chain_id*."""
        if not isinstance(key, keys.PrivateKey):
            raise TypeError(f"{type(self).__name__}.sign takes a private key, not a {type(key).__name__}")
        if not isinstance(chain_id, bytes) or len(chain_id) != ID.LENGTH:
            raise TypeError(
                f"chain_id is {chain_id!r}, not an ID: for its text, use vmsdk.ID.from_string(text)"
            )
        unsigned = replace(self, public_key=key.public_key, signature=bytes(keys.SIGNATURE_BYTES))
        return replace(unsigned, signature=key.sign(unsigned._message(chain_id)))

    def check(self, chain_id: ID) -> None:
        """Check the signature. Raises `Invalid` if it doesn't match, or is for another chain."""
        self._must_be_signed()
        if not keys.verify(self.public_key, self._message(chain_id), self.signature):
            raise Invalid(
                "the signature does not match: it is for a different key, different content or another chain",
                sender=self.sender.hex(),
                chain_id=str(chain_id),
            )

    def _message(self, chain_id: ID) -> bytes:
        return self.DOMAIN + chain_id + self.raw[: -keys.SIGNATURE_BYTES]

    def _must_be_signed(self) -> None:
        if not self.public_key:
            raise Invalid(f"the {type(self).__name__} is not signed: call sign(key, chain_id)")


def not_a_kind(kind: object) -> TypeError:
    """The error for an invalid value of a chain's `transaction`."""
    return TypeError(
        f"{kind!r} is not a kind of transaction: give bytes, a subclass of chain.Transaction, or a union of "
        "subclasses, Transfer | Mint"
    )


@functools.cache
def parser(kind: Any) -> Callable[[bytes], Any]:
    """Return the function that decodes a chain's transactions, which raises `Invalid`.

    *kind* is `bytes`, a `Transaction` or another class with `from_bytes`, or a union of
    `Transaction` classes with different tags. Raises `TypeError` for anything else.
    """
    if kind is bytes:
        return bytes
    is_union = get_origin(kind) in (Union, types.UnionType)
    kinds = get_args(kind) if is_union else (kind,)
    for each in kinds:
        if not isinstance(each, type) or not hasattr(each, "from_bytes"):
            raise not_a_kind(each)
    if not is_union:
        return kind.from_bytes  # type: ignore[no-any-return]
    parsers = {_HEAD.pack(_VERSION, tag): each.from_bytes for tag, each in tagged(kinds, str(kind)).items()}

    def parse(raw: bytes) -> Any:
        parse_one = parsers.get(raw[: _HEAD.size])
        if parse_one is None:
            raise Invalid("unknown kind of transaction", begin=raw[: _HEAD.size].hex())
        return parse_one(raw)

    return parse
