"""Typed views of a state: keys and values by their annotations.

    ACCOUNTS = Table(b"account/", Address, Account, default=Account())
    ENTRIES = Table(b"entry/", U64, Entry)

    accounts = ACCOUNTS.of(state)
    account = accounts[tx.sender]
    accounts[tx.sender] = replace(account, nonce=account.nonce + 1)
    for number, entry in ENTRIES.of(state).scan(start=100, limit=50): ...

Values are encoded as in `vmsdk.chain.encoding`. Encoded keys have the order of the keys: integers
(with the sign bit of signed ones inverted), bool, enums, bytes, str, `ID`, `NodeID`, and tuples of
these, in which only the last item may vary in length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

from vmsdk.chain.encoding import Encoding, Fixed, Integer, Item, Max, encoding_of
from vmsdk.chain.state import State
from vmsdk.codec import MAX_STRING_BYTES
from vmsdk.database import as_bytes
from vmsdk.errors import InvalidEncoding, NotFound

# Prefixes are compared for this many tables of a state. Rules that use more create them from data.
MAX_CLAIMS = 256

_K = TypeVar("_K")
_V = TypeVar("_V")


class Table(Generic[_K, _V]):
    """A typed view of the keys of a state that begin with *prefix*.

    With a *default*, a missing key reads as that value. Raises `TypeError` for types that can't be
    encoded, `InvalidEncoding` if *default* isn't of the type.

    No table's prefix may begin with another's: if a call of the rules, or a snapshot, uses two such
    tables, `of` raises `TypeError`.
    """

    def __init__(self, prefix: bytes, key: type[_K], value: type[_V], *, default: _V | None = None) -> None:
        self.prefix = as_bytes(prefix)
        self._claim = (str(self), key, value)
        self.is_of_tuples = get_origin(key) is tuple
        self.key_parts = _key_parts(get_args(key) if self.is_of_tuples else (key,), str(self))
        self._encode_key = self.key_parts[0].encode
        first = self.key_parts[0]
        self.plain_bytes = -1
        """The length of keys that are their own encoding, such as addresses; -1 for other keys."""
        if not self.is_of_tuples and isinstance(first, Item) and first.takes_bytes:
            self.plain_bytes = first.size
        self.values: Encoding[_V] = encoding_of(value)
        self.default = None if default is None else self.values.encode(default)

    def __str__(self) -> str:
        return f"Table({self.prefix!r})"

    def of(self, state: State) -> TableView[_K, _V]:
        """Return the table's entries in *state*."""
        try:
            claims = state.claims
        except AttributeError:
            raise TypeError(f"{self}.of takes a state, not a {type(state).__name__}") from None
        if not claims:
            if claims is not None:
                claims[self.prefix] = self._claim
        elif claims.get(self.prefix) is not self._claim:
            _claim(claims, self.prefix, self._claim)
        return TableView(self, state)

    def key(self, key: _K) -> bytes:
        """Return the key in the state of an entry, for example for `Transaction.keys`.

        Raises `InvalidEncoding` if *key* is not of the table's type.
        """
        own: Any = key
        if type(own) is bytes and len(own) == self.plain_bytes:
            return self.prefix + own
        if not self.is_of_tuples:
            try:
                return self.prefix + self._encode_key(key)
            except InvalidEncoding as error:
                raise InvalidEncoding(f"{self}: the key {error}") from None
        if not isinstance(key, tuple) or len(key) != len(self.key_parts):
            raise InvalidEncoding(f"{self}: {key!r} is not a tuple of {len(self.key_parts)} items")
        return self.prefix_of(key)

    def prefix_of(self, items: tuple[Any, ...]) -> bytes:
        """Return the common prefix of the state's keys whose first items are *items*."""
        try:
            parts = zip(self.key_parts[: len(items)], items, strict=True)
            return self.prefix + b"".join([part.encode(item) for part, item in parts])
        except ValueError as error:
            raise InvalidEncoding(f"{self}: {items!r} is not (the start of) a key: {error}") from None

    def decode(self, key: bytes, value: bytes) -> tuple[_K, _V]:
        """Decode a pair of the state. Raises `InvalidEncoding` if it isn't an entry."""
        items, offset = [], len(self.prefix)
        for part in self.key_parts:
            item, offset = part.read(key, offset)
            items.append(item)
        if offset != len(key):
            raise InvalidEncoding(f"{self}: the key 0x{key.hex()} is too long")
        decoded: Any = tuple(items) if self.is_of_tuples else items[0]
        return decoded, self.value(decoded, value)

    def value(self, key: _K, value: bytes) -> _V:
        """Decode the value of *key*. Raises `InvalidEncoding` if it is of another type."""
        try:
            return self.values.decode(value)
        except InvalidEncoding as error:
            raise InvalidEncoding(
                f"{self}: the stored value of {key!r} is not of the table's type, which may have changed "
                f"since: {error}"
            ) from None


class TableView(Generic[_K, _V]):
    """The entries of a table in one state. Created by `Table.of`."""

    __slots__ = ("_state", "_table")

    def __init__(self, table: Table[_K, _V], state: State) -> None:
        self._table = table
        self._state = state

    def __getitem__(self, key: _K) -> _V:
        """Return the value of *key*, or the table's default. Raises `NotFound` if there is neither.

        Each read decodes a new object. Changes to it have no effect until it is assigned again.
        """
        table = self._table
        own: Any = key
        if type(own) is bytes and len(own) == table.plain_bytes:  # the usual case, fast
            value = self._state.lookup(table.prefix + own)
        else:
            value = self._state.lookup(table.key(key))
        if value is None:
            value = table.default
            if value is None:
                raise NotFound(f"{table} has no entry {key!r}, and no default")
        return table.value(key, value)

    def get(self, key: _K) -> _V | None:
        """Return the value of *key*, or the table's default, or None."""
        try:
            return self[key]
        except NotFound:
            return None

    def __setitem__(self, key: _K, value: _V) -> None:
        try:
            encoded = self._table.values.encode(value)
        except InvalidEncoding as error:
            raise InvalidEncoding(f"{self._table}: the value of {key!r}: {error}") from None
        self._state.write(self._table.key(key), encoded)

    def __delitem__(self, key: _K) -> None:
        """Delete an entry. A missing one is not an error."""
        del self._state[self._table.key(key)]

    def __contains__(self, key: _K) -> bool:
        """Return whether there is an entry. The default is not one."""
        return self._table.key(key) in self._state

    __iter__ = None
    """Not iterable, so that Python doesn't try the keys 0, 1 and so on. Use `scan`."""

    def scan(self, *items: Any, start: _K | None = None, limit: int | None = None) -> Iterator[tuple[_K, _V]]:
        """Yield at most *limit* entries in ascending order of keys, from *start* on.

        With *items*, only those whose keys begin with these items. If the last item is a str or
        bytes, it may be just the beginning of the key's.
        """
        prefix = self._table.prefix_of(items)
        first = prefix if start is None else self._table.key(start)
        if not first.startswith(prefix):
            raise ValueError(f"{self._table}: start={start!r} does not begin with {items!r}")
        for key, value in self._state.scan(prefix, start=first[len(prefix) :], limit=limit):
            yield self._table.decode(key, value)


class Counter:
    """An integer in the state, 0 at first: `COUNT = Counter(b"count")`."""

    def __init__(self, key: bytes) -> None:
        self.key = as_bytes(key)
        self._claim = (str(self),)

    def __str__(self) -> str:
        return f"Counter({self.key!r})"

    def get(self, state: State) -> int:
        """Return the value."""
        try:
            claims = state.claims
        except AttributeError:
            raise TypeError(f"{self} takes a state first, not a {type(state).__name__}") from None
        if claims is not None and claims.get(self.key) is not self._claim:
            _claim(claims, self.key, self._claim)
        return state.get_int(self.key)

    def add(self, state: State, amount: int = 1) -> int:
        """Add *amount*, and return the old value. Raises `ValueError` if the sum is negative."""
        value = self.get(state)
        state.put_int(self.key, value + amount)
        return value


def _claim(claims: dict[bytes, tuple[Any, ...]], prefix: bytes, claim: tuple[Any, ...]) -> None:
    """Record a user of the keys with *prefix*. Raises `TypeError` if there is another one."""
    if len(claims) >= MAX_CLAIMS:
        return
    for other_prefix, other in list(claims.items()):
        if other != claim and (prefix.startswith(other_prefix) or other_prefix.startswith(prefix)):
            raise TypeError(
                f"{claim[0]} and {other[0]} are different, but share keys of the state: give each a prefix "
                "with which no other prefix begins"
            )
    claims[prefix] = claim


def _key_parts(annotations: tuple[Any, ...], where: str) -> list[Encoding[Any]]:
    parts: list[Encoding[Any]] = []
    for annotation in annotations:
        base, *marks = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
        if base in (bytes, str) and not any(isinstance(mark, Fixed) for mark in marks):
            if len(parts) + 1 < len(annotations):
                raise TypeError(f"{where}: only the last item of a key may vary in length: use Fixed")
            parts.append(_rest(base, annotation if marks else Annotated[base, Max(MAX_STRING_BYTES)]))
            continue
        part = encoding_of(annotation)
        if not isinstance(part, Item):
            raise TypeError(
                f"{where}: {annotation} can't be a key: use integers, bool, enums, bytes, str, ID, "
                "NodeID, or a tuple of these"
            )
        is_signed = any(isinstance(mark, Integer) and mark.signed for mark in marks)
        parts.append(_signed(part) if is_signed else part)
    return parts


def _rest(base: type[Any], annotation: Any) -> Encoding[Any]:
    """Encode bytes or a str without their length, at the end of a key."""
    encoding = encoding_of(annotation)
    length_bytes = len(encoding.encode(base()))
    decode: Callable[[bytes], Any] = bytes if base is bytes else bytes.decode
    return Encoding(
        lambda value: encoding.encode(value)[length_bytes:],
        lambda data, offset: (decode(data[offset:]), len(data)),
    )


def _signed(part: Encoding[int]) -> Encoding[int]:
    """Invert the sign bit, so that negative integers are sorted first."""

    def flip(data: bytes, offset: int = 0) -> bytes:
        return data[:offset] + bytes([data[offset] ^ 0x80]) + data[offset + 1 :]

    return Encoding(
        lambda value: flip(part.encode(value)), lambda data, offset: part.read(flip(data, offset), offset)
    )
