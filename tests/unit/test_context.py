"""The surroundings of a chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from vmsdk import Context, MemoryDatabase, VMError
from vmsdk.ids import ID


def test_a_context_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Context().network_id = 1  # type: ignore[misc]


def test_a_test_makes_one_of_nothing_and_has_a_database_of_its_own() -> None:
    ctx = Context()
    ctx.db[b"key"] = b"value"
    assert b"key" not in Context().db
    ctx.notify()
    ctx.state_sync_finished()
    ctx.metrics.register(object())  # type: ignore[arg-type]
    ctx.log.debug("a line")


def test_a_test_passes_what_it_is_about() -> None:
    db = MemoryDatabase({b"key": b"value"})
    ctx = Context(db=db, protocol_version=35)
    assert (ctx.db, ctx.protocol_version) == (db, 35)


def test_arguments_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        Context(1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda ctx: ctx.sender, "has no services, which sender needs: make it with Context(services=…)"),
        (lambda ctx: ctx.validators, "has no services, which validators needs"),
        (lambda ctx: ctx.preferred, "has no chain, which preferred needs: make it with Context(chain=…)"),
        (lambda ctx: ctx.get_block(ID.EMPTY), "has no chain, which get needs"),
    ],
)
def test_what_a_test_did_not_give_is_named_when_it_is_used(
    use: Callable[[Context], object], says: str
) -> None:
    with pytest.raises(VMError) as caught:
        use(Context())
    assert says in str(caught.value)


def test_a_test_without_a_directory_cannot_write_into_the_current_one() -> None:
    with pytest.raises(NotADirectoryError):
        (Context().chain_data_dir / "file").write_text("x")


def test_a_test_makes_a_variant_with_replace() -> None:
    db = MemoryDatabase()
    assert dataclasses.replace(Context(), db=db).db is db


def test_two_contexts_are_never_equal_but_each_can_be_a_key() -> None:
    one = Context()
    assert one != dataclasses.replace(one)
    assert {one: "chain"}[one] == "chain"


def test_the_lock_may_be_taken_again_by_who_holds_it() -> None:
    ctx = Context()
    with ctx.lock, ctx.lock:
        pass
