"""Watches a VM's code for changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import watchfiles

from vmsdk.target import SourceTarget, Target


class CodeWatch:
    """Calls *on_change* with changed files, on its own thread.

    Watches the Python files below the folder of a source, or an executable. Calls *on_failure* once
    if the system can't watch them.
    """

    def __init__(
        self,
        target: Target,
        on_change: Callable[[list[Path]], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._file = None if isinstance(target, SourceTarget) else target.file
        self.root = target.code if isinstance(target, SourceTarget) else target.file.parent
        self._is_python = watchfiles.PythonFilter()
        self._on_change = on_change
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="code-watch", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Can be called repeatedly, and before `start`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        try:
            for changes in watchfiles.watch(
                self.root,
                watch_filter=self._is_code,
                stop_event=self._stopping,
                recursive=self._file is None,
                ignore_permission_denied=True,
                # How often it checks the event, in ms.
                rust_timeout=200,
            ):
                self._on_change(sorted({Path(path) for _, path in changes}))
        except (OSError, RuntimeError) as error:
            self._on_failure(f"can't watch {self.root} for changes: {error}")

    def _is_code(self, change: watchfiles.Change, path: str) -> bool:
        if self._file is not None:
            return Path(path) == self._file
        return self._is_python(change, path)
