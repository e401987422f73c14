"""Points in time as in the protocol: seconds and nanoseconds, from the year 1 to 9999."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import ClassVar, NamedTuple, TypeAlias

from vmsdk.errors import InvalidInput

NANOSECONDS_PER_SECOND = 1_000_000_000

# Source: the google.protobuf.Timestamp definition (0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z).
MIN_SECONDS = -62_135_596_800
MAX_SECONDS = 253_402_300_799

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_clock: list[Callable[[], int]] = [time.time_ns]


def now_ns() -> int:
    """The current time in Unix nanoseconds, by the clock that every VM of this process reads."""
    return _clock[0]()


def set_clock(clock: Callable[[], int]) -> None:
    """Replace the clock of this process, which is `time.time_ns` at first. For tests."""
    _clock[0] = clock


class _Fields(NamedTuple):
    seconds: int
    nanos: int = 0


class Timestamp(_Fields):
    """Whole *seconds* since 1970-01-01T00:00:00Z (may be negative), and *nanos* 0 to 999,999,999.

    Compares in time order. Raises `InvalidInput` outside the years 1 to 9999.
    """

    ZERO: ClassVar[Timestamp]
    """Go's zero time, 0001-01-01T00:00:00Z."""
    __slots__ = ()

    def __new__(cls, seconds: int, nanos: int = 0) -> Timestamp:
        if not isinstance(seconds, int) or not isinstance(nanos, int):
            raise InvalidInput(
                "invalid timestamp", f"({seconds!r:.50}, {nanos!r:.50}) are not whole numbers: use int(...)"
            )
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise InvalidInput(
                "invalid timestamp", f"{seconds} s since 1970 lies outside the years 1 to 9999"
            )
        if not 0 <= nanos < NANOSECONDS_PER_SECOND:
            raise InvalidInput("invalid timestamp", f"{nanos} ns is not within 0 to 999999999")
        return super().__new__(cls, seconds, nanos)

    @classmethod
    def now(cls) -> Timestamp:
        """The current time, by the clock of this process."""
        return cls.from_unix_ns(now_ns())

    @classmethod
    def from_unix_ns(cls, nanoseconds: int) -> Timestamp:
        """The time that many nanoseconds after 1970-01-01T00:00:00Z."""
        seconds, nanos = divmod(nanoseconds, NANOSECONDS_PER_SECOND)
        return cls(seconds, nanos)

    @classmethod
    def from_datetime(cls, moment: datetime) -> Timestamp:
        """The same moment. Raises `InvalidInput` if *moment* has no time zone."""
        if moment.tzinfo is None:
            raise InvalidInput(
                "invalid timestamp",
                f"{moment.isoformat()} has no time zone: give datetime(..., tzinfo=timezone.utc)",
            )
        since_epoch = moment - _EPOCH
        return cls(since_epoch.days * 86_400 + since_epoch.seconds, since_epoch.microseconds * 1_000)

    @classmethod
    def of(cls, value: TimestampLike) -> Timestamp:
        """*value* as a timestamp: a `Timestamp`, an aware `datetime`, or whole Unix seconds."""
        if isinstance(value, Timestamp):
            return value
        if isinstance(value, datetime):
            return cls.from_datetime(value)
        if isinstance(value, int):
            return cls(value)
        raise InvalidInput(
            "invalid timestamp", f"{value!r:.100} is not a Timestamp, a datetime or an int of Unix seconds"
        )

    @property
    def unix_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        return self.seconds * NANOSECONDS_PER_SECOND + self.nanos

    def to_datetime(self) -> datetime:
        """The same moment in UTC, cut to whole microseconds."""
        return _EPOCH + timedelta(seconds=self.seconds, microseconds=self.nanos // 1_000)

    def __str__(self) -> str:
        fraction = f".{self.nanos:09d}".rstrip("0") if self.nanos else ""
        return self.to_datetime().replace(microsecond=0, tzinfo=None).isoformat() + fraction + "Z"


Timestamp.ZERO = Timestamp(MIN_SECONDS)

TimestampLike: TypeAlias = "Timestamp | datetime | int"
"""What a block may give as its timestamp: a `Timestamp`, an aware `datetime`, or Unix seconds."""
