"""Points in time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from vmsdk.errors import InvalidInput
from vmsdk.timestamp import Timestamp

NEW_YEAR = datetime(2024, 1, 1, tzinfo=timezone.utc)


def test_go_zero_time_is_the_first_of_january_of_year_1() -> None:
    assert Timestamp.ZERO.to_datetime() == datetime(1, 1, 1, tzinfo=timezone.utc)
    assert str(Timestamp.ZERO) == "0001-01-01T00:00:00Z"


def test_timestamps_compare_in_time_order_also_before_1970() -> None:
    ordered = [Timestamp(-2, 999_999_999), Timestamp(-1), Timestamp(0), Timestamp(0, 1), Timestamp(1)]
    assert sorted(ordered[index] for index in (3, 0, 4, 2, 1)) == ordered


def test_whole_seconds_and_datetimes_are_taken_for_what_they_are() -> None:
    assert Timestamp.of(1_704_067_200) == Timestamp.of(NEW_YEAR) == Timestamp(1_704_067_200)
    assert Timestamp.of(Timestamp(5, 6)) == Timestamp(5, 6)


def test_a_zone_does_not_change_the_moment() -> None:
    eastern = NEW_YEAR.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Timestamp.of(eastern) == Timestamp.of(NEW_YEAR)


def test_microseconds_survive_where_floats_would_round() -> None:
    late = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    assert Timestamp.of(late) == Timestamp(253_402_300_799, 999_999_000)
    assert Timestamp.of(late).to_datetime() == late


def test_nanoseconds_before_1970_count_forward_from_the_second() -> None:
    assert Timestamp.from_unix_ns(-1) == Timestamp(-1, 999_999_999)
    assert Timestamp(-1, 999_999_999).unix_ns == -1


def test_the_text_is_rfc_3339_with_as_many_digits_as_needed() -> None:
    assert str(Timestamp(0)) == "1970-01-01T00:00:00Z"
    assert str(Timestamp(0, 500_000_000)) == "1970-01-01T00:00:00.5Z"
    assert str(Timestamp(0, 1)) == "1970-01-01T00:00:00.000000001Z"


def test_now_lies_between_two_readings_of_the_clock() -> None:
    before = datetime.now(timezone.utc)
    now = Timestamp.now()
    after = datetime.now(timezone.utc)
    assert before <= now.to_datetime() + timedelta(microseconds=1)
    assert now.to_datetime() <= after


def test_a_datetime_without_a_zone_is_refused_with_the_cure() -> None:
    with pytest.raises(InvalidInput, match=r"no time zone: give datetime\(\.\.\., tzinfo=timezone\.utc\)"):
        Timestamp.of(datetime(2024, 1, 1))


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800, 2**63])
def test_a_second_outside_the_years_1_to_9999_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidInput, match="outside the years 1 to 9999"):
        Timestamp(seconds)


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_nanoseconds_are_less_than_a_second(nanos: int) -> None:
    with pytest.raises(InvalidInput, match=f"{nanos} ns"):
        Timestamp(0, nanos)


@pytest.mark.parametrize("value", [1.5, "2024-01-01", None, b""])
def test_anything_else_is_not_a_time(value: object) -> None:
    with pytest.raises(InvalidInput, match="not a Timestamp, a datetime or an int"):
        Timestamp.of(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [(1.7e9,), (1, 0.5), ("2026-01-01",), (None,)])
def test_seconds_and_nanoseconds_are_whole_numbers(values: Any) -> None:
    with pytest.raises(InvalidInput, match=r"not whole numbers: use int\(\.\.\.\)"):
        Timestamp(*values)
