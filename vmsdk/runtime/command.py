"""A command that answers in the background while this process goes on."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping

# No answer that is asked for comes near this.
MAX_OUTPUT_BYTES = 1024 * 1024


class Command:
    """Runs *executable* as *argv*, without input, and with no *environment* but the given one.

    What it writes to stderr is dropped.

    Raises `OSError` when it can't be started. Close it, or ask for its output, or the process is left.
    """

    # Not by subprocess: importing that takes longer than all of this, and a plugin's start has to hurry.
    def __init__(
        self, executable: str, argv: list[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._reader, writer = os.pipe()
        try:
            self._pid: int | None = os.posix_spawn(
                executable,
                argv,
                environment or {},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writer, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
            )
        except OSError:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)

    def output(self, deadline_s: float, is_enough: Callable[[str], bool] = lambda text: False) -> str:
        """What it has written by *deadline_s* (of `time.monotonic`), or until *is_enough*; then it is ended.

        Call once.
        """
        said = b""
        try:
            while len(said) < MAX_OUTPUT_BYTES and not is_enough(_text(said)):
                ready, _, _ = select.select([self._reader], [], [], max(0.0, deadline_s - time.monotonic()))
                data = os.read(self._reader, MAX_OUTPUT_BYTES) if ready else b""
                if not data:
                    break
                said += data
        finally:
            self.close()
        return _text(said)

    def close(self) -> None:
        """End the process, whether it has answered or not. Harmless when repeated."""
        if self._pid is None:
            return
        pid, self._pid = self._pid, None
        os.close(self._reader)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # reaped already, where the author's code has the system ignore its children's ends


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
