"""Which protocol version to speak: it can't be negotiated, and a wrong one ends the plugin."""

from __future__ import annotations

import logging
import os
import sys
import time

from vmsdk.protocol import NEWEST, PROTOCOLS, Protocol, protocol
from vmsdk.runtime.ancestors import Ancestor
from vmsdk.runtime.answercache import AnswerCache, cache_directory
from vmsdk.runtime.nodeprocess import find_node
from vmsdk.runtime.release import Release, VersionQuestion

# Nodes answer within 0.1 to 0.3 s; slow ones within 1 s.
ANSWER_TIMEOUT_S = 2.0
# Whatever happens, the handshake begins while the node still waits for it: it waits 5 s from its exec on.
LATEST_HANDSHAKE_S = 4.0

_log = logging.getLogger("vmsdk")


class VersionChoice:
    """The protocol version of this process: *given*, else as the node says, else the newest.

    With nothing given and *ask* the node is asked at once, in the background: its executable, which is found
    among this process's ancestors, is run with `--version`. *engine* is the address that the node waits at.
    Raises `UnsupportedProtocol` for what is given.
    """

    def __init__(self, given: int | None, *, engine: str, ask: bool) -> None:
        self._chosen = None if given is None else protocol(given)
        self._node = find_node(engine) if given is None and ask else None
        self._question: VersionQuestion | None = None
        directory = cache_directory()
        self._cache = None if directory is None else AnswerCache(directory)
        if self._node is not None:
            self._ask(self._node)

    def _ask(self, node: Ancestor) -> None:
        known = None if self._cache is None else self._cache.get(node)
        if known is not None:
            self._take(known)
            return
        try:
            self._question = VersionQuestion(node.executable, node.path)
        except OSError as error:
            _log.warning("the node %s can't be asked for its version: %s", node.path, error.strerror)

    @property
    def is_open(self) -> bool:
        """Whether the node's answer is still to come: time for other things."""
        return self._question is not None

    def settle(self) -> Protocol:
        """The version, after at most 2 s."""
        question, self._question = self._question, None
        if question is not None and self._node is not None:
            left_s = max(0.0, LATEST_HANDSHAKE_S - _age_s())
            release = question.answer(min(ANSWER_TIMEOUT_S, left_s))
            if release is not None:
                if self._cache is not None:
                    self._cache.put(self._node, release)
                self._take(release)
            else:
                _log.warning(
                    "the node %s does not say its version in time: taking the newest, protocol %d",
                    self._node.path,
                    NEWEST,
                )
        return self._chosen or protocol(NEWEST)

    def _take(self, release: Release) -> None:
        # One that vmsdk doesn't speak is left to the handshake, whose refusal says what to do.
        self._chosen = PROTOCOLS.get(release.protocol)

    def close(self) -> None:
        """Take back the question, if it is still open."""
        if self._question is not None:
            self._question.close()


def _age_s() -> float:
    """For how long this process has been running, in seconds; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    try:
        with open("/proc/self/stat", "rb") as file:
            # The 22nd value, of which two come before the closing bracket: ticks since the system's start.
            started_ticks = int(file.read().rpartition(b")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
