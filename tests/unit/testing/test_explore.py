"""`check` finds what is wrong with a VM, without a test."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from vmsdk import chain as batteries
from vmsdk.context import Context
from vmsdk.testing import Failed, check, explore
from vmsdk.timestamp import now_ns

from .test_chain import Counting, Cowardly, Notes

TXS = [b"one", b"two", b"three", b"four"]


class Hashing(Notes):
    def execute(self, state: batteries.State, tx: bytes, block: batteries.Header) -> None:
        super().execute(state, tx, block)
        state.put_int(b"hash", hash(str(tx)) & 0xFFFF)


class Clocked(Notes):
    def execute(self, state: batteries.State, tx: bytes, block: batteries.Header) -> None:
        super().execute(state, tx, block)
        state.put_int(b"day", now_ns() // 86_400_000_000_000)


class Busy(Notes):
    def has_pending_work(self) -> bool:
        return True


class Remembering(Notes):
    """Writes when it verifies, and not when it accepts."""

    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        self.database = ctx.db  # Rules can't use ctx.db itself.
        super().initialize(ctx, genesis, upgrade, config)

    def begin(self, state: batteries.State, block: batteries.Header) -> None:
        self.database.put(b"seen/" + block.parent_id, b"%d" % now_ns())


def test_a_good_vm_passes() -> None:
    assert check(Notes, txs=TXS) == [
        *("blocks", "forks", "restarts", "crashes", "failed writes", "replay", "events", "peers", "limits")
    ]


def test_transactions_come_from_a_strategy_too() -> None:
    assert check(Notes, txs=st.binary(max_size=5), only=["blocks"]) == ["blocks"]


def test_a_vm_that_takes_no_transaction_is_not_checked_in_silence() -> None:
    with pytest.raises(Failed, match="accepted no transaction"):
        check(Notes, txs=[b""], only=["blocks"])


@pytest.mark.parametrize(
    ("vm", "name", "text"),
    [
        (Hashing, "replay", "effects differ"),
        (Clocked, "replay", "effects differ"),
        (Counting, "crashes", "after a crash after database write 2"),
        (Remembering, "blocks", "keys differ"),
        (Busy, "events", "reports work, but builds no block"),
        (Cowardly, "limits", "what is this"),
    ],
)
def test_a_defect_is_found(vm: type[Notes], name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may take longer until it reports work that there isn't.
    monkeypatch.setattr(explore, "_QUIET_S", 60.0)
    with pytest.raises(Failed, match=text) as caught:
        check(vm, txs=TXS, only=[name])
    assert list(caught.value.failures) == [name]


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(ValueError, match="the checks are blocks, forks"):
        check(Notes, only=["block"])


def test_a_class_that_another_process_cant_import_is_not_skipped_in_silence() -> None:
    class Local(Notes):
        pass

    with pytest.warns(UserWarning, match="skipped the replay .* top level of its module"):
        assert check(Local, txs=TXS, only=["blocks", "replay"]) == ["blocks"]
