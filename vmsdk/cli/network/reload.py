"""Changes of a VM's code, watched for in the background."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from types import TracebackType

import watchfiles
from typing_extensions import Self

from vmsdk.network.plugin import is_executable


class CodeWatch:
    """A context in which `changed()` says, once for each change, that code of the targets has changed on the disk."""

    def __init__(self, targets: list[str]) -> None:
        """Watches nothing where there is no target. An executable plugin is watched as a file."""
        self._files = {Path(target).absolute() for target in targets if is_executable(target)}
        folders = {code_folder(target) for target in targets if not is_executable(target)}
        self._folders = {folder for folder in folders if folder is not None}
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vmsdk-code-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._files or self._folders:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def changed(self) -> bool:
        """Whether code has changed since the last call."""
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def _watch(self) -> None:
        watched = [*self._folders, *{file.parent for file in self._files}]
        for _ in watchfiles.watch(
            *watched, watch_filter=self._is_code, stop_event=self._stop, rust_timeout=200
        ):
            self._changed.set()

    def _is_code(self, change: watchfiles.Change, path: str) -> bool:
        if Path(path) in self._files:
            return True
        is_python = watchfiles.PythonFilter()
        return is_python(change, path) and any(folder in Path(path).parents for folder in self._folders)


def code_folder(target: str) -> Path | None:
    """The folder whose Python files make up the target: that of the file, or of the package that the module is in."""
    where = target.partition(":")[0]
    path = Path(where)
    if path.is_dir():
        return path.absolute()
    if path.suffix == ".py" or path.exists():
        return path.absolute().parent
    try:
        found = importlib.util.find_spec(where.partition(".")[0])
    except (ImportError, ValueError):
        return None
    return Path(found.origin).parent if found is not None and found.origin else None
