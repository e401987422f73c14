"""Go's binary form of a time (`time.Time.MarshalBinary`), in which connections carry deadlines.

    offset 0   1 byte   version: 1, or 2 if the zone's offset has seconds
    offset 1   8 bytes  seconds since 0001-01-01T00:00:00Z, signed
    offset 9   4 bytes  nanoseconds, signed
    offset 13  2 bytes  the zone's offset from UTC in minutes, signed; -1 means UTC itself
    offset 15  1 byte   version 2 only: seconds of the zone's offset

All big-endian. Source: time/time.go of Go.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from typing import NamedTuple

from vmsdk.errors import InvalidEncoding
from vmsdk.timestamp import MIN_SECONDS, Timestamp, TimestampLike

_MINUTES_VERSION = 1
_SECONDS_VERSION = 2
_LENGTHS = {_MINUTES_VERSION: 15, _SECONDS_VERSION: 16}
_UTC_MINUTES = -1


class GoTime(NamedTuple):
    """A moment with the zone in which it was written; the zone doesn't change the moment."""

    timestamp: Timestamp
    utc_offset_s: int | None
    """Seconds east of Greenwich; None for UTC itself."""


def encode(moment: TimestampLike | None, utc_offset_s: int | None = None) -> bytes:
    """15 or 16 bytes. None and `Timestamp.ZERO` are Go's zero time, which clears a deadline.

    The zone is *utc_offset_s*, else that of a `datetime`, else UTC. Raises `InvalidTimestamp` for a
    moment that `Timestamp.of` refuses, `InvalidEncoding` for a zone that Go can't write.
    """
    timestamp = Timestamp.ZERO if moment is None else Timestamp.of(moment)
    if utc_offset_s is None and isinstance(moment, datetime):
        # A zone without offset is written as UTC: Python has several names for it, Go one.
        utc_offset_s = (moment.utcoffset() or timedelta()) // timedelta(seconds=1) or None
    version, zone = _encode_zone(utc_offset_s)
    return struct.pack(">Bqi", version, timestamp.seconds - MIN_SECONDS, timestamp.nanos) + zone


def decode(data: bytes) -> GoTime:
    """The time in *data*.

    Raises `InvalidEncoding` with Go's own text, and `InvalidTimestamp` for a moment outside the years
    1 to 9999 or with nanoseconds outside 0 to 999,999,999, which Go would take.
    """
    if not data:
        raise InvalidEncoding("Time.UnmarshalBinary: no data")
    length = _LENGTHS.get(data[0])
    if length is None:
        raise InvalidEncoding("Time.UnmarshalBinary: unsupported version")
    if len(data) != length:
        raise InvalidEncoding("Time.UnmarshalBinary: invalid length")
    version, seconds, nanos, minutes = struct.unpack(">Bqih", data[:15])
    # Go writes these seconds with a sign and reads them without: what a node reads is what counts.
    utc_offset_s = minutes * 60 + (data[15] if version == _SECONDS_VERSION else 0)
    is_utc = utc_offset_s == _UTC_MINUTES * 60
    return GoTime(Timestamp(seconds + MIN_SECONDS, nanos), None if is_utc else utc_offset_s)


def _encode_zone(utc_offset_s: int | None) -> tuple[int, bytes]:
    """The version and the last 2 or 3 bytes."""
    if utc_offset_s is None:
        return _MINUTES_VERSION, struct.pack(">h", _UTC_MINUTES)
    # Like Go, round towards zero, so that minutes and seconds have the same sign.
    minutes, seconds = divmod(abs(utc_offset_s), 60)
    if utc_offset_s < 0:
        minutes, seconds = -minutes, -seconds
    if minutes == _UTC_MINUTES or not -(2**15) <= minutes < 2**15:
        raise InvalidEncoding("Time.MarshalBinary: unexpected zone offset", f"{utc_offset_s} s")
    if seconds:
        return _SECONDS_VERSION, struct.pack(">hb", minutes, seconds)
    return _MINUTES_VERSION, struct.pack(">h", minutes)
