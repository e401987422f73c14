"""The surroundings of a chain."""

from __future__ import annotations

import dataclasses
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from vmsdk.context import Context
from vmsdk.ids import ID, NodeID
from vmsdk.memorydb import MemoryDatabase


def context(**changes: Any) -> Context:
    """A context whose services are of no matter."""
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(Context)}
    values.update(
        network_id=12345,
        chain_id=ID.of(b"chain"),
        node_id=NodeID.EMPTY,
        chain_data_dir=Path("chain"),
        protocol_version=45,
        db=MemoryDatabase(),
        log=logging.getLogger("chain"),
        lock=threading.RLock(),
    )
    return Context(**{**values, **changes})


def test_a_context_cannot_be_changed() -> None:
    ctx = context()
    with pytest.raises(dataclasses.FrozenInstanceError):
        ctx.network_id = 1  # type: ignore[misc]


def test_a_test_makes_a_variant_with_replace() -> None:
    db = MemoryDatabase()
    assert dataclasses.replace(context(), db=db).db is db


def test_two_contexts_are_never_equal_but_each_can_be_a_key() -> None:
    one = context()
    assert one != dataclasses.replace(one)
    assert {one: "chain"}[one] == "chain"


def test_the_lock_may_be_taken_again_by_who_holds_it() -> None:
    ctx = context()
    with ctx.lock, ctx.lock:
        pass
