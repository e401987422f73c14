"""Few threads for a threaded grpcio server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from vmsdk.rpc.http.fewthreads import FewThreads


class FewThreadsExecutor(Executor):
    """What grpcio takes for a thread pool."""

    def __init__(self, threads: FewThreads) -> None:
        self._threads = threads

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Have *function* called in one of the threads."""
        future: Future[Any] = Future()
        self._threads.put((partial(_run, future, function, arguments, named),))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the work they have."""
        self._threads.close()
        if wait:
            self._threads.join()


def _run(
    future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*arguments, **named)
    except BaseException as error:  # noqa: BLE001 - it is the future's
        future.set_exception(error)
    else:
        future.set_result(result)
