"""The clock of a VM under `vmsdk dev`."""

from __future__ import annotations

import time
from pathlib import Path

from vmsdk.host.errors import ChainMisused
from vmsdk.timestamp import Timestamp


class Clock:
    """The VM's clock: the machine's, moved by an offset that its processes read from *file*.

    *file* has the offset in nanoseconds: 8 bytes, big-endian, signed.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set_offset(0)

    @property
    def offset_ns(self) -> int:
        """How far it is ahead of the machine's clock."""
        return int.from_bytes(self.file.read_bytes(), "big", signed=True)

    def set_offset(self, offset_ns: int) -> None:
        """Move the clock. Raises `ChainMisused` if the time would be out of range."""
        if not 0 <= time.time_ns() + offset_ns < 2**62:
            raise ChainMisused(
                f"the clock can't be moved by {offset_ns // 10**9} s: the time is out of range"
            )
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(offset_ns.to_bytes(8, "big", signed=True))

    def now(self) -> Timestamp:
        """The time that the VM sees."""
        return Timestamp.from_unix_ns(time.time_ns() + self.offset_ns)
