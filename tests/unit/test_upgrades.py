"""The upgrade file of a chain, and which rules are in force at a block."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, cast

import pytest

import vmsdk
from vmsdk.chain import Chain, Header
from vmsdk.chain.block import Block as ChainBlock
from vmsdk.errors import UpgradesRefused
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase
from vmsdk.timestamp import Timestamp
from vmsdk.upgrades import STORED_KEY, Activation, Upgrades

NOON = Timestamp.from_datetime(datetime(2026, 12, 1, 12, tzinfo=timezone.utc))
NOON_TEXT = "2026-12-01T12:00:00Z"
LOG = logging.getLogger("test.upgrades")


class Tokens(Chain):
    version = "1.2.0"
    upgrades = ("fees-v2", "burning")

    def execute(self, state: Any, tx: Any, block: Header) -> None: ...


@dataclass
class Plain(vmsdk.Block):
    """A block of a `ChainVM`."""

    height: int
    timestamp: Any

    def verify(self) -> None: ...
    def accept(self) -> None: ...


def upgrade(name: str = "fees-v2", **when: object) -> dict[str, object]:
    return {"name": name, **when}


def read(*entries: object, vm: type[Chain] = Tokens) -> Upgrades:
    return Upgrades.of(vm(), json.dumps({"upgrades": entries}).encode())


def refusal(data: bytes | list[object]) -> str:
    if isinstance(data, list):
        data = json.dumps({"upgrades": data}).encode()
    with pytest.raises(UpgradesRefused) as caught:
        Upgrades.of(Tokens(), data)
    assert "upgrade.json" in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


# Reading ------------------------------------------------------------------------------------------


def test_a_file_is_a_mapping_of_names_to_activations_in_its_order() -> None:
    table = read(upgrade("burning", height=7), upgrade(time=NOON_TEXT))
    assert dict(table) == {"burning": Activation(height=7), "fees-v2": Activation(time=NOON)}
    assert list(table) == ["burning", "fees-v2"]
    assert repr(table) == f"<Upgrades burning at height 7, fees-v2 at {NOON_TEXT}>"
    assert Upgrades.of(Tokens(), table.encode()) == table


def test_a_time_may_be_unix_seconds_and_an_empty_file_schedules_nothing() -> None:
    assert read(upgrade(time=NOON.seconds)) == read(upgrade(time=NOON_TEXT))
    assert not Upgrades.of(Tokens(), b"")
    assert not read()
    # Saved on Windows, with a byte order mark.
    assert "fees-v2" in Upgrades.of(
        Tokens(), '\ufeff{"upgrades": [{"name": "fees-v2", "height": 1}]}'.encode()
    )


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [upgrade(height=1, time=NOON_TEXT)],
            'upgrade 1 (fees-v2) must have "height" or "time", but has both',
        ),
        ([upgrade()], "but has neither: give one of them"),
        ([upgrade(height=1), upgrade(height=2)], "upgrade 2 (fees-v2) is listed twice"),
        (
            [upgrade(height=2), upgrade("burning", height=1)],
            "upgrade 2 (burning) activates at height 1, before fees-v2 at height 2: sort the upgrades",
        ),
        ([upgrade(time=2), upgrade("burning", height=9), upgrade("burning", time=1)], "twice"),
        ([upgrade(time=NOON_TEXT), upgrade("burning", time=1)], f"before fees-v2 at {NOON_TEXT}: sort"),
        ([upgrade(height=-1)], "its height must be a whole number from 0 to 2**64 - 1, not -1"),
        ([upgrade(height=2**64)], "not 18446744073709551616"),
        ([upgrade(height=True)], "not True"),
        ([upgrade(height="7")], "not '7'"),
        ([upgrade(height=7.0)], "not 7.0"),
        ([upgrade(time=-5)], 'its time must be UTC, such as "2026-12-01T12:00:00Z", or Unix seconds, not -5'),
        ([upgrade(time=NOON.seconds * 1000)], "which look like milliseconds"),
        ([upgrade(time=NOON.seconds * 10**6)], "which look like microseconds"),
        ([upgrade(time=NOON.seconds * 10**9)], "which look like nanoseconds"),
        ([upgrade(time="0001-01-01T00:00:00Z")], "which is before 1970"),
        ([upgrade(time="1969-12-31T23:59:59Z")], "which is before 1970"),
        ([upgrade(time="2026-12-01 12:00")], "not '2026-12-01 12:00'"),
        ([upgrade(time="2026-12-01T12:00:00+01:00")], "must be UTC"),
        ([upgrade(time="2026-13-01T12:00:00Z")], "not '2026-13-01T12:00:00Z'"),
        ([upgrade(time="٢026-12-01T12:00:00Z")], "must be UTC"),
        ([upgrade(time=1.5)], "not 1.5"),
        ([upgrade(time=None)], "not None"),
        ([upgrade(height=1, Time=3)], "unknown key 'Time'"),
        ([upgrade("Fees", height=1)], "upgrade 1: its name must be 1 to 64 of a-z"),
        ([{"height": 1}], "not None"),
        (["fees-v2"], "upgrade 1 must be an object"),
        (
            [upgrade("rent", height=4)],
            "which tokens 1.2.0 does not know (it knows 'fees-v2', 'burning'): update the plugin",
        ),
    ],
)
def test_an_entry_that_breaks_a_rule_is_named_with_the_cure(entries: list[object], words: str) -> None:
    assert words in refusal(entries)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "is not valid JSON: Expecting property name"),
        (b'{"upgrades": [\n  {"name": "fees-v2" "height": 1}]}', "line 2 column 22"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[]", 'must be {"upgrades": [...]}'),
        (b'{"precompileUpgrades": []}', "not {'precompileUpgrades': []}"),
        (b'{"upgrades": [], "more": 1}', "without other keys"),
        (b'{"upgrades": {}}', '"upgrades" must be an array'),
        (b'{"upgrades": [], "upgrades": []}', "an object has the key 'upgrades' twice"),
        (
            b'{"upgrades": [{"name": "fees-v2", "height": 1, "height": 2}]}',
            "an object has the key 'height' twice",
        ),
        (b'{"upgrades": [{"name": "fees-v2", "height": NaN}]}', "NaN is not a JSON number"),
        (b"[" * 100_000, "upgrade.json"),
        (b'{"upgrades": [' + b"9" * 100_000 + b"]}", "upgrade.json"),
        (b'{"upgrades": [{"name": "' + b"x" * 100_000 + b'"}]}', "its name must be"),
    ],
)
def test_what_is_not_an_upgrade_file_is_refused_in_a_few_words(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_names_may_share_an_activation_and_heights_and_times_may_alternate() -> None:
    assert len(read(upgrade(height=5), upgrade("burning", height=5))) == 2
    assert len(read(upgrade(height=5), upgrade("burning", time=1))) == 2


def test_a_vm_without_declared_upgrades_reads_its_own_file() -> None:
    class Own(Chain):
        upgrades = None

        def execute(self, state: Any, tx: Any, block: Header) -> None: ...

    assert not Upgrades.of(Own(), b"anything")


def test_a_chain_whose_code_knows_no_upgrade_yet_is_updated_before_one_is_scheduled() -> None:
    class First(Chain):
        def execute(self, state: Any, tx: Any, block: Header) -> None: ...

    with pytest.raises(UpgradesRefused, match=r"does not know \(it knows none\): update the plugin"):
        read(upgrade(height=9), vm=First)


def test_reading_costs_the_same_for_each_entry() -> None:
    class Many(Chain):
        upgrades = tuple(f"upgrade{number}" for number in range(2_000))

        def execute(self, state: Any, tx: Any, block: Header) -> None: ...

    entries = [upgrade(name, height=number) for number, name in enumerate(Many.upgrades)]
    keys = json.dumps({f"key{number}": 1 for number in range(100_000)}).encode()
    assert len(read(*entries, vm=Many)) == 2_000
    refusal(keys)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("fees-v2", r"Wrong.upgrades is 'fees-v2': make it a tuple of names"),
        (("fees v2",), "Wrong.upgrades has 'fees v2': a name has 1 to 64"),
        (("a", "b", "a"), "Wrong.upgrades has 'a' twice: remove one"),
        ((1,), "Wrong.upgrades has 1"),
        ({"a": 1}, "make it a tuple"),
    ],
)
def test_a_class_with_unusable_names_is_refused_when_it_is_made(names: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        type("Wrong", (Chain,), {"upgrades": names, "execute": lambda self, state, tx, block: None})


# Asking -------------------------------------------------------------------------------------------


def header(height: int, milliseconds: int = 0) -> Header:
    return Header(ID.EMPTY, height, milliseconds)


@pytest.mark.parametrize("make", [header, Plain, lambda h, t: ChainBlock(header(h, t), b"", ())])
def test_an_upgrade_is_active_from_its_height_on(make: Any) -> None:
    table = read(upgrade(height=7))
    assert [table.is_active("fees-v2", make(height, 0)) for height in (0, 6, 7, 8)] == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("before", "at"),
    [
        (header(1, NOON.seconds * 1000 - 1), header(1, NOON.seconds * 1000)),
        (Plain(1, NOON.seconds - 1), Plain(1, NOON.seconds)),
        (Plain(1, Timestamp(NOON.seconds - 1, 999_999_999)), Plain(1, NOON)),
        (Plain(1, datetime(2026, 12, 1, 11, 59, 59, 999_999, timezone.utc)), Plain(1, NOON.to_datetime())),
    ],
)
def test_an_upgrade_is_active_from_its_time_on_in_every_kind_of_block(before: Any, at: Any) -> None:
    table = read(upgrade(time=NOON_TEXT))
    assert not table.is_active("fees-v2", before)
    assert table.is_active("fees-v2", at)


def test_an_upgrade_that_is_not_scheduled_is_not_active_and_an_unknown_name_is_a_mistake() -> None:
    table = read(upgrade(height=1))
    assert not table.is_active("burning", header(9))
    with pytest.raises(
        vmsdk.VMError, match=r"does not list this upgrade.*\('fees-v2', 'burning'\): add the name"
    ):
        table.is_active("fees-v3", header(9))


def test_a_context_of_a_test_has_no_upgrades_or_those_that_it_is_given() -> None:
    assert not vmsdk.Context().upgrades.is_active("any", header(9))
    context = vmsdk.Context(upgrades=Upgrades({"any": Activation(height=3)}))
    assert context.upgrades.is_active("any", header(3))


# The past -----------------------------------------------------------------------------------------


def started(database: MemoryDatabase, table: Upgrades, height: int, time: Timestamp = NOON) -> str:
    """Start a chain at a last accepted block; returns why that is refused, or nothing."""
    stored = database.get(STORED_KEY)
    try:
        table.admit(database, cast(vmsdk.Block, Plain(height, time)), LOG)
    except UpgradesRefused as error:
        assert database.get(STORED_KEY) == stored, "a refused file is not remembered"
        return str(error)
    return ""


def test_a_new_chain_takes_any_upgrades_and_without_any_nothing_is_stored() -> None:
    database = MemoryDatabase()
    assert not started(database, read(), 0)
    assert STORED_KEY not in database
    assert not started(database, read(upgrade(height=0)), 0)
    assert STORED_KEY in database
    assert "restore the activation of fees-v2 at height 0" in started(database, read(), 0)


@pytest.mark.parametrize(
    ("before", "after", "cure"),
    [
        (upgrade(height=10), None, "restore the activation of fees-v2 at height 10"),
        (upgrade(height=10), upgrade(height=9), "restore"),
        (upgrade(height=10), upgrade(height=11), "restore the activation of fees-v2 at height 10"),
        (upgrade(height=10), upgrade(time=NOON_TEXT), "restore"),
        (upgrade(height=11), upgrade(height=10), "schedule fees-v2 after that block, on all nodes alike"),
        (None, upgrade(height=10), "schedule fees-v2 after that block"),
        (None, upgrade(height=0), "schedule"),
        (upgrade(time=NOON.seconds), upgrade(time=NOON.seconds + 1), "restore"),
        (upgrade(time=NOON.seconds + 1), upgrade(time=NOON.seconds), "schedule"),
        (upgrade(height=10), upgrade(height=10), ""),
        (upgrade(height=11), upgrade(height=12), ""),
        (upgrade(height=11), None, ""),
        (None, upgrade(height=11), ""),
        (None, upgrade(time=NOON.seconds + 1), ""),
        (upgrade(time=NOON.seconds + 1), upgrade(height=11), ""),
    ],
)
def test_an_activation_up_to_the_last_block_can_not_be_changed(before: Any, after: Any, cure: str) -> None:
    database = MemoryDatabase()
    first = read(*filter(None, [before]))
    if first:
        database.put(STORED_KEY, first.encode())
    text = started(database, read(*filter(None, [after])), 10)
    assert cure in text
    assert bool(cure) == bool(text)
    if text:
        assert f"the last accepted block has height 10 and time {NOON_TEXT}" in text
        assert "never" in text if None in (before, after) else "never" not in text


def test_a_record_of_the_last_start_that_can_not_be_read_is_not_taken_for_the_file() -> None:
    database = MemoryDatabase({STORED_KEY: b'{"upgrades": [{"name": "fees-v2", "time": -1}]}'})
    text = started(database, read(), 10)
    assert text.startswith("the record of this node's last start")
    assert "remove the chain's data and sync again" in text
    assert "upgrade.json" not in text


def test_a_node_that_synced_without_the_file_is_told_to_sync_again() -> None:
    text = started(MemoryDatabase(), read(upgrade(height=10)), 10)
    assert "remove this node's data of the chain and sync again with the file" in text


def test_a_change_of_the_future_is_logged_and_remembered(caplog: pytest.LogCaptureFixture) -> None:
    database = MemoryDatabase()
    caplog.set_level(logging.INFO)
    assert not started(database, read(upgrade(height=20)), 10)
    assert not started(database, read(upgrade(height=30)), 10)
    assert not started(database, read(upgrade(height=30)), 10)
    assert caplog.messages == [
        "the upgrade fees-v2 activates at height 20",
        "the upgrade fees-v2 activates at height 30 (at the last start: at height 20)",
    ]
    assert "restore the activation of fees-v2 at height 30" in started(database, read(upgrade(height=20)), 30)


def test_a_plugin_that_has_dropped_an_old_name_still_reads_what_was_stored() -> None:
    class Later(Chain):
        upgrades = ("burning",)

        def execute(self, state: Any, tx: Any, block: Header) -> None: ...

    database = MemoryDatabase()
    assert not started(database, read(upgrade(height=20)), 10)
    assert "restore the activation of fees-v2" in started(database, Upgrades.of(Later(), b""), 20)


def test_the_clock_of_the_machine_does_not_matter() -> None:
    database = MemoryDatabase()
    past = Timestamp(int(time.time()) - 1_000)
    assert not started(database, read(upgrade(time=past.seconds)), 10, Timestamp(past.seconds - 1))
