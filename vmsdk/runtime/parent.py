"""Watches the process that started this one: when it is gone, nobody will ever stop the plugin."""

from __future__ import annotations

import os

# Where the kernel can't tell the parent's end by a descriptor, its ID is looked at this often.
POLL_S = 1.0


class Parent:
    """The node's process, as it was when this object was made."""

    def __init__(self) -> None:
        self.pid = os.getppid()
        self._descriptor: int | None = None
        opener = getattr(os, "pidfd_open", None)
        if opener is not None:
            try:
                self._descriptor = opener(self.pid)
            except OSError:
                pass  # gone already, or not allowed in this sandbox: gone() and POLL_S do the work

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when the parent ends, on systems that have such."""
        return self._descriptor

    def gone(self) -> bool:
        """Whether this process has another parent by now."""
        return os.getppid() != self.pid

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
