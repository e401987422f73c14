"""Go's binary time. The bytes are those that Go writes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from vmsdk import gotime
from vmsdk.errors import InvalidEncoding, InvalidTimestamp
from vmsdk.gotime import GoTime
from vmsdk.timestamp import Timestamp


def in_zone(hour: int, minute: int, second: int, **offset: int) -> datetime:
    return datetime(2023, 11, 14, hour, minute, second, tzinfo=timezone(timedelta(**offset)))


@pytest.mark.parametrize(
    ("moment", "encoded"),
    [
        pytest.param(None, "01000000000000000000000000ffff", id="none, which clears a deadline"),
        pytest.param(Timestamp.ZERO, "01000000000000000000000000ffff", id="zero"),
        pytest.param(0, "010000000e7791f70000000000ffff", id="Unix 0"),
        pytest.param(
            Timestamp(1_700_000_000, 123_456_789), "010000000edce5e800075bcd15ffff", id="nanoseconds"
        ),
        pytest.param(in_zone(23, 13, 20, hours=1), "010000000edce5e80000000000003c", id="+01:00"),
        pytest.param(
            in_zone(16, 43, 20, hours=-5, minutes=-30), "010000000edce5e80000000000feb6", id="-05:30"
        ),
        pytest.param(
            in_zone(23, 13, 21, hours=1, seconds=1), "020000000edce5e80000000000003c01", id="+01:00:01"
        ),
    ],
)
def test_edge_95_deadlines_are_written_as_go_writes_them(
    moment: Timestamp | datetime | int | None, encoded: str
) -> None:
    assert gotime.encode(moment).hex() == encoded


@pytest.mark.parametrize(
    ("encoded", "moment"),
    [
        ("01000000000000000000000000ffff", GoTime(Timestamp.ZERO, None)),
        ("010000000e7791f70000000000ffff", GoTime(Timestamp(0), None)),
        ("010000000edce5e80000000000003c", GoTime(Timestamp(1_700_000_000), 3600)),
        ("010000000edce5e80000000000feb6", GoTime(Timestamp(1_700_000_000), -19_800)),
        ("020000000edce5e80000000000003c01", GoTime(Timestamp(1_700_000_000), 3601)),
    ],
)
def test_edge_95_deadlines_are_read_as_go_reads_them(encoded: str, moment: GoTime) -> None:
    assert gotime.decode(bytes.fromhex(encoded)) == moment


def test_a_zone_without_offset_that_is_not_utc_is_told_apart() -> None:
    assert gotime.encode(0, utc_offset_s=0).hex() == "010000000e7791f700000000000000"
    assert gotime.decode(gotime.encode(0, utc_offset_s=0)).utc_offset_s == 0


def test_an_offset_given_in_words_wins_over_that_of_the_datetime() -> None:
    assert gotime.decode(gotime.encode(in_zone(23, 13, 20, hours=1), 7200)).utc_offset_s == 7200


def test_seconds_of_a_western_zone_are_read_without_their_sign_as_go_does() -> None:
    encoded = gotime.encode(0, utc_offset_s=-3601)
    assert encoded.hex() == "020000000e7791f70000000000ffc4ff"
    assert gotime.decode(encoded) == GoTime(Timestamp(0), -3600 + 255)


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        ("", "Time.UnmarshalBinary: no data"),
        ("00", "Time.UnmarshalBinary: unsupported version"),
        ("030000000e7791f70000000000ffff", "Time.UnmarshalBinary: unsupported version"),
        ("010000000e7791f70000000000ff", "Time.UnmarshalBinary: invalid length"),
        ("010000000e7791f70000000000ffff00", "Time.UnmarshalBinary: invalid length"),
        ("020000000e7791f70000000000ffff", "Time.UnmarshalBinary: invalid length"),
    ],
)
def test_edge_95_bytes_that_go_refuses_give_gos_text(encoded: str, text: str) -> None:
    with pytest.raises(InvalidEncoding) as caught:
        gotime.decode(bytes.fromhex(encoded))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("01ffffffffffffffff00000000ffff", id="before year 1"),
        pytest.param("017fffffffffffffff00000000ffff", id="after year 9999"),
        pytest.param("010000000e7791f7003b9aca00ffff", id="a thousand million nanoseconds"),
        pytest.param("010000000e7791f700ffffffffffff", id="negative nanoseconds"),
    ],
)
def test_a_moment_that_no_timestamp_holds_is_refused(encoded: str) -> None:
    with pytest.raises(InvalidTimestamp):
        gotime.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("offset", [-60, -90, 60 * 2**15, -60 * 2**15 - 60])
def test_a_zone_that_go_cannot_write_is_refused(offset: int) -> None:
    with pytest.raises(InvalidEncoding, match=f"Time.MarshalBinary: unexpected zone offset: {offset} s"):
        gotime.encode(0, utc_offset_s=offset)
