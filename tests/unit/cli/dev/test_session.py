"""What the main thread of `vmsdk dev` waits for."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from vmsdk.cli.dev.session import Inbox

TIMEOUT_S = 60.0


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


def test_closed_it_gives_the_signals_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    inbox = Inbox(str)
    assert signal.getsignal(signal.SIGINT) is not before
    inbox.close()
    assert signal.getsignal(signal.SIGINT) is before
    inbox.post("too late")
