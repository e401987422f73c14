"""Timestamps and Go's binary times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import assume, given
from hypothesis import strategies as st

from vmsdk import gotime
from vmsdk.errors import InvalidEncoding, InvalidTimestamp
from vmsdk.gotime import GoTime
from vmsdk.timestamp import MAX_SECONDS, MIN_SECONDS, Timestamp

timestamps = st.builds(Timestamp, st.integers(MIN_SECONDS, MAX_SECONDS), st.integers(0, 999_999_999))
zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(seconds=offset // timedelta(seconds=1)))
)


@given(timestamps)
def test_unix_nanoseconds_lead_back_to_the_timestamp(timestamp: Timestamp) -> None:
    assert Timestamp.from_unix_ns(timestamp.unix_ns) == timestamp


@given(timestamps)
def test_a_datetime_loses_only_what_is_below_a_microsecond(timestamp: Timestamp) -> None:
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
def test_any_two_numbers_are_a_timestamp_or_refused(seconds: int, nanos: int) -> None:
    try:
        timestamp = Timestamp(seconds, nanos)
    except InvalidTimestamp:
        return
    assert timestamp.to_datetime().tzinfo is timezone.utc
    assert str(timestamp).endswith("Z")


@given(timestamps, st.none() | st.integers(-(2**15) * 60, 2**15 * 60 - 1))
def test_a_go_time_survives(timestamp: Timestamp, utc_offset_s: int | None) -> None:
    negative_seconds = utc_offset_s is not None and utc_offset_s < 0 and utc_offset_s % 60
    assume(not negative_seconds)  # which Go writes and reads differently: tests/unit/test_gotime.py
    assume(utc_offset_s != -60)
    assert gotime.decode(gotime.encode(timestamp, utc_offset_s)) == GoTime(timestamp, utc_offset_s)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones))
def test_a_zone_never_changes_the_moment_of_a_go_time(moment: datetime) -> None:
    offset = moment.utcoffset()
    assume(offset is not None and not timedelta(minutes=-2) < offset <= timedelta(minutes=-1))
    assert gotime.decode(gotime.encode(moment)).timestamp == Timestamp.of(moment)


@given(
    st.binary(max_size=20)
    | st.binary(min_size=14, max_size=15).flatmap(lambda b: st.sampled_from([b"\1" + b, b"\2" + b]))
)
def test_garbage_is_a_go_time_or_refused(garbage: bytes) -> None:
    try:
        moment = gotime.decode(garbage)
    except (InvalidEncoding, InvalidTimestamp):
        return
    assert moment.timestamp.to_datetime()
