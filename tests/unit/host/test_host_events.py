"""The engine's queue of one event."""

from __future__ import annotations

import threading

from vmsdk.host.events import EventSlot


def test_there_is_room_for_one_event() -> None:
    slot = EventSlot()
    assert slot.offer(1)
    assert not slot.offer(2)
    assert slot.take(0) == 1
    assert slot.take(0) is None
    assert slot.offer(2)


def test_a_dropped_event_makes_room() -> None:
    slot = EventSlot()
    slot.offer(1)
    slot.drop()
    assert slot.take(0) is None
    assert slot.offer(2)


def test_taking_waits_for_an_event() -> None:
    slot = EventSlot()
    taken: list[int | None] = []
    thread = threading.Thread(target=lambda: taken.append(slot.take(10)))
    thread.start()
    slot.offer(1)
    thread.join(60)
    assert taken == [1]


def test_closing_wakes_whoever_waits_now_or_later() -> None:
    slot = EventSlot()
    taken: list[int | None] = []
    thread = threading.Thread(target=lambda: taken.append(slot.take()))
    thread.start()
    slot.close()
    thread.join(60)
    assert taken == [None]
    assert slot.take() is None
