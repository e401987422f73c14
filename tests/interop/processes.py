"""Processes that are not children of the test's own, and how many there are."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

DEADLINE_S = 60.0


class OtherProcess:
    """A process that is not our child, recognised even if another process has its ID now."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def ended(self) -> bool:
        """Whether it has ended by the deadline."""
        return self._descriptor is None or bool(select.select([self._descriptor], [], [], DEADLINE_S)[0])

    def signal(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)


def gone(pid: int) -> bool:
    """Whether a process that is not our child has ended by the deadline."""
    with OtherProcess(pid) as process:
        return process.ended()


def overloaded() -> bool:
    """Whether processes have to wait for processors: lately, or for so long that many queue."""
    return _waiting_percent() > 50 or os.getloadavg()[0] > 2 * len(os.sched_getaffinity(0))


def _waiting_percent() -> float:
    """In how much of the last ten seconds a process waited for a processor; 0 if Linux doesn't say.

    The load average takes a minute to notice that a machine is busy.
    """
    try:
        found = re.search(r"some avg10=([\d.]+)", Path("/proc/pressure/cpu").read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return 0.0 if found is None else float(found[1])
