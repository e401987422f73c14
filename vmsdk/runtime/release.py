"""What a node says of itself: which release it is, which plugin protocol it speaks."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import Self

from vmsdk.runtime.command import Command

VERSION_FLAG = "--version"
"""Every node answers it; `--version-json` is a later addition, at which older nodes fail."""

# Source: Versions.String in the node's version/string.go: the order and number of the other entries differ.
_ANSWER = r"^(?P<application>\S+/\S+) \[(?:[^\]\n]*, )?rpcchainvm=(?P<protocol>\d{1,4})(?=[,\]])"


@dataclass(frozen=True)
class Release:
    """One release of a node."""

    application: str
    """Name and version, as in `metalgo/1.13.5`."""
    protocol: int
    """The number of its plugin protocol, which need not be one that vmsdk speaks."""

    @classmethod
    def parse(cls, answer: str) -> Self | None:
        """What a node's answer to `--version` says; None if no node wrote it."""
        # Not compiled at the import: most starts of a plugin find the answer in the cache.
        found = re.search(_ANSWER, answer, re.MULTILINE)
        return None if found is None else cls(found["application"], int(found["protocol"]))

    @property
    def name(self) -> str:
        """The client's name: `avalanchego` or `metalgo`."""
        return self.application.partition("/")[0]

    @property
    def version(self) -> str:
        """Its version, as in `1.13.5`."""
        return self.application.partition("/")[2]


class VersionQuestion:
    """`--version`, asked of *executable* in the background. *name* is what it sees as its own name.

    Its *environment* is empty unless one is given: what a person names may be a script that needs one.
    Raises `OSError` when it can't be started. Close it, or ask for its answer, or the process is left.
    """

    def __init__(
        self, executable: str, name: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = Command(executable, [name or executable, VERSION_FLAG], environment)
        self._asked_at_s = time.monotonic()

    def answer(self, timeout_s: float) -> Release | None:
        """The answer; None when there is none *timeout_s* after the question, or no node's. Call once."""
        said = self._command.output(
            self._asked_at_s + timeout_s, is_enough=lambda text: Release.parse(text) is not None
        )
        return Release.parse(said)

    def close(self) -> None:
        """Take the question back."""
        self._command.close()
