"""Timestamps."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from vmsdk.errors import InvalidInput
from vmsdk.timestamp import MAX_SECONDS, MIN_SECONDS, Timestamp

timestamps = st.builds(Timestamp, st.integers(MIN_SECONDS, MAX_SECONDS), st.integers(0, 999_999_999))
zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(seconds=offset // timedelta(seconds=1)))
)


@given(timestamps)
def test_a_timestamp_survives_conversion_to_unix_nanoseconds(timestamp: Timestamp) -> None:
    assert Timestamp.from_unix_ns(timestamp.unix_ns) == timestamp


@given(timestamps)
def test_a_datetime_loses_less_than_a_microsecond(timestamp: Timestamp) -> None:
    back = Timestamp.from_datetime(timestamp.to_datetime())
    assert 0 <= timestamp.unix_ns - back.unix_ns < 1_000


@given(timestamps, timestamps)
def test_timestamps_are_ordered_like_their_nanoseconds(left: Timestamp, right: Timestamp) -> None:
    assert (left < right) == (left.unix_ns < right.unix_ns)
    assert (left == right) == (left.unix_ns == right.unix_ns)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones))
def test_an_aware_datetime_is_the_same_moment(moment: datetime) -> None:
    assert Timestamp.of(moment).to_datetime() == moment


@given(st.integers(), st.integers())
def test_any_two_numbers_are_a_timestamp_or_are_refused(seconds: int, nanos: int) -> None:
    try:
        timestamp = Timestamp(seconds, nanos)
    except InvalidInput:
        return
    assert timestamp.to_datetime().tzinfo is timezone.utc
    assert str(timestamp).endswith("Z")
