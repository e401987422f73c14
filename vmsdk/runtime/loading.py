"""Loads the author's code, or a VM that returns its error to the node."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from vmsdk.errors import NotLoaded, VMError
from vmsdk.runtime.ending import POLL_S, Parent
from vmsdk.vm import ChainVM

_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
_IMPORTLIB = str(Path(importlib.__file__).parent)


def load(loader: Callable[[], ChainVM], name: str, parent: Parent, exit_now: Callable[[], None]) -> ChainVM:
    """Return the VM that *loader* returns, or a `NotLoadedVM` if it raises.

    If the plugin exited, the node would wait forever. *exit_now* is called if *parent* exits before
    *loader* returns.
    """
    try:
        with _exiting_with(parent, exit_now):
            return loader()
    except BaseException as error:  # SystemExit too, from a module's top level
        problem = (type(error), error, authors_frames(error) or error.__traceback__)
        logging.getLogger(name).error("the VM's code can't be loaded", exc_info=problem)
        return NotLoadedVM(name, NotLoaded(name, f"{type(error).__qualname__}: {error}"))


def authors_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback of *error* from the author's first frame on."""
    frames = error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if not file.startswith((_PACKAGE, _IMPORTLIB, "<")):
            return frames
        frames = frames.tb_next
    # A syntax error has no frame in its file, and its message has the line.
    return None if isinstance(error, (SyntaxError, VMError)) else error.__traceback__


@contextmanager
def _exiting_with(parent: Parent, exit_now: Callable[[], None]) -> Iterator[None]:
    """Watch *parent* inside the block: an import that hangs must not outlive the node."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            if parent.gone():
                exit_now()

    threading.Thread(target=watch, name="vmsdk-loading", daemon=True).start()
    try:
        yield
    finally:
        done.set()


class NotLoadedVM(ChainVM):
    """Replaces a VM whose code can't be loaded: every call fails with *error*."""

    def __init__(self, name: str, error: NotLoaded) -> None:
        self._error = error
        self.__dict__["name"] = name

    def _fail(self, *_: Any, **__: Any) -> NoReturn:
        raise self._error

    version = property(_fail)  # what a node asks a new plugin first
    initialize = last_accepted = get_block = parse_block = build_block = _fail
    set_preference = get_block_id_at_height = _fail
