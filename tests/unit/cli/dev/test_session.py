"""What the main thread of `vmsdk dev` waits for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from vmsdk.cli.dev.session import Inbox

TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Gives pytest its signals back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_events_come_in_their_order_from_any_thread() -> None:
    with Inbox(str) as inbox:
        inbox.post("a")
        thread = threading.Thread(target=inbox.post, args=("b",))
        thread.start()
        thread.join()
        assert [inbox.next(TIMEOUT_S), inbox.next(TIMEOUT_S), inbox.next(0)] == ["a", "b", None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_is_an_event(number: signal.Signals) -> None:
    with Inbox(str) as inbox:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert [inbox.next(TIMEOUT_S) for _ in range(2)] == [str(int(number))] * 2
        assert inbox.next(0) is None


def test_a_signal_comes_before_the_events_that_it_may_have_caused() -> None:
    with Inbox(str) as inbox:
        inbox.post("the VM has ended")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        expected = [str(int(signal.SIGINT)), str(int(signal.SIGTERM)), "the VM has ended"]
        assert [inbox.next(TIMEOUT_S) for _ in range(3)] == expected


def test_no_signal_is_lost_however_close_to_the_wait_it_comes() -> None:
    heard = threading.Event()
    failures: list[int] = []

    def send() -> None:
        for count in range(3_000):
            heard.clear()
            os.kill(os.getpid(), signal.SIGINT)
            if not heard.wait(TIMEOUT_S):
                failures.append(count)
                break
        inbox.post("done")

    with Inbox(str) as inbox:
        thread = threading.Thread(target=send)
        thread.start()
        while inbox.next(2 * TIMEOUT_S) != "done":
            heard.set()
        thread.join()
    assert failures == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_closed_it_ignores_the_signals_since_the_process_ends(number: signal.Signals) -> None:
    inbox = Inbox(str)
    inbox.close()
    assert signal.getsignal(number) is signal.SIG_IGN
    os.kill(os.getpid(), number)
    inbox.post("too late")
