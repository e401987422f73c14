"""Lines of text out of the bytes that a process writes."""

from __future__ import annotations

import codecs
from collections.abc import Callable

# A longer line is shown in pieces, so that a process without line ends can't fill our memory.
MAX_LINE_CHARACTERS = 64 * 1024


class LogStream:
    """Calls *show* with each line, without its end. Bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """The next bytes, cut anywhere."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._show_line(line)
        while len(self._rest) > MAX_LINE_CHARACTERS:
            self._show(self._rest[:MAX_LINE_CHARACTERS])
            self._rest = self._rest[MAX_LINE_CHARACTERS:]

    def end(self) -> None:
        """No more bytes: show a last line that lacks its end."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self._show_line(rest)

    def _show_line(self, line: str) -> None:
        line = line.removesuffix("\r")
        for start in range(0, len(line) or 1, MAX_LINE_CHARACTERS):
            self._show(line[start : start + MAX_LINE_CHARACTERS])
