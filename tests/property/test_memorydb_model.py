"""The memory database behaves like a sorted dictionary."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from vmsdk.database import Batch, DatabaseIterator
from vmsdk.errors import NotFound
from vmsdk.memorydb import MemoryDatabase

keys = st.binary(max_size=2) | st.text("ab\xff", max_size=3).map(lambda text: text.encode("latin-1"))
values = st.binary(max_size=3)

Snapshot = tuple[DatabaseIterator, list[tuple[bytes, bytes]]]


class Model(RuleBasedStateMachine):
    """Run operations in any order on the database and on a plain dictionary."""

    batches: Bundle[tuple[Batch, dict[bytes, bytes | None]]] = Bundle("batches")
    iterators: Bundle[Snapshot] = Bundle("iterators")

    def __init__(self) -> None:
        super().__init__()
        self.db = MemoryDatabase()
        self.model: dict[bytes, bytes] = {}

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.db.put(key, value)
        self.model[key] = value

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.db.delete(key)
        self.model.pop(key, None)

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.db.get(key) == self.model.get(key)
        assert (key in self.db) == (key in self.model)
        if key in self.model:
            assert self.db[key] == self.model[key]
        else:
            with pytest.raises(NotFound):
                self.db[key]

    @rule(wanted=st.lists(keys, max_size=5))
    def get_many(self, wanted: list[bytes]) -> None:
        assert self.db.get_many(wanted) == [self.model.get(key) for key in wanted]

    @rule(target=batches)
    def begin(self) -> tuple[Batch, dict[bytes, bytes | None]]:
        return self.db.batch(), {}

    @rule(batch=batches, key=keys, value=st.none() | values)
    def fill(self, batch: tuple[Batch, dict[bytes, bytes | None]], key: bytes, value: bytes | None) -> None:
        if value is None:
            batch[0].delete(key)
        else:
            batch[0].put(key, value)
        batch[1][key] = value

    @rule(batch=batches)
    def write(self, batch: tuple[Batch, dict[bytes, bytes | None]]) -> None:
        batch[0].write()
        for key, value in batch[1].items():
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value

    @rule(target=iterators, prefix=keys, start=keys)
    def iterate(self, prefix: bytes, start: bytes) -> Snapshot:
        pairs = [
            (key, value)
            for key, value in sorted(self.model.items())
            if key.startswith(prefix) and key >= start
        ]
        return self.db.iterate(prefix=prefix, start=start), pairs

    @rule(iterator=iterators)
    def advance(self, iterator: Snapshot) -> None:
        pairs, left = iterator
        assert next(pairs, None) == (left.pop(0) if left else None)

    @rule(iterator=iterators)
    def release(self, iterator: Snapshot) -> None:
        iterator[0].release()
        iterator[1].clear()

    @invariant()
    def everything_is_there_in_order(self) -> None:
        assert list(self.db.iterate()) == sorted(self.model.items())


TestMemoryDatabase = Model.TestCase
TestMemoryDatabase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)
