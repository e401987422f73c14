"""What the tests of a module share is made anew after one of them has failed or used it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Generic, TypeVar

import pytest

T = TypeVar("T")


class Shared(Generic[T]):
    """Lends one thing to test after test, and makes it when there is none."""

    def __init__(self, make: Callable[[], AbstractContextManager[T]]) -> None:
        self._make = make
        self._things: list[T] = []
        self._stack = ExitStack()

    def __enter__(self) -> Shared[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @contextmanager
    def lent(self, session: pytest.Session) -> Iterator[T]:
        """For a fixture of one test. Who knows what a test that failed has left: the next one would
        fail of it too.
        """
        if not self._things:
            self._things.append(self._stack.enter_context(self._make()))
        failed_before = session.testsfailed
        yield self._things[0]
        if session.testsfailed > failed_before:
            self.end()

    def end(self) -> None:
        """For a test that uses the thing up: tests may run in any order, as pytest-xdist moves them
        from worker to worker.
        """
        self._things.clear()
        self._stack.close()
