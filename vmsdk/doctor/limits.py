"""The resource limits of processes."""

from __future__ import annotations

import sys
from contextlib import suppress

LIMITS = ("NOFILE", "NPROC", "AS", "DATA", "STACK", "FSIZE", "CPU", "CORE", "MEMLOCK")
"""What a plugin inherits from its node, as in `resource.RLIMIT_…`."""


def limits_of(pid: int) -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return the resource limits of a process (0: this one), or none if they can't be read."""
    if sys.platform != "linux":
        return ()
    import resource

    numbers = [getattr(resource, f"RLIMIT_{name}") for name in LIMITS]
    try:
        return tuple((number, resource.prlimit(pid, number)) for number in numbers)
    except (PermissionError, ProcessLookupError):  # in a container, even root may lack the right
        return ()


def own_limits() -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return this process's limits, then raise that of open files: this program needs some, too."""
    limits = limits_of(0)
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # macOS refuses an unlimited number, and anything above a limit of its kernel.
        wanted = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        if exceeds(wanted, soft):
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limits


def exceeds(limit: int, other: int) -> bool:
    """Return whether *limit* is above *other*; either may be unlimited."""
    import resource

    return other != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > other)


def hard_limit(number: int, wanted: int) -> int:
    """Return *wanted*, or the highest hard limit that this process may set if that is lower."""
    import resource

    soft, hard = resource.getrlimit(number)
    if sys.platform != "linux" or not exceeds(wanted, hard):
        return wanted
    try:
        resource.setrlimit(number, (soft, wanted))  # some of root's processes may raise it
    except (ValueError, OSError):
        return hard
    resource.setrlimit(number, (soft, hard))
    return wanted
