"""Tells events to nodes that don't ask for them (until protocol 41)."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from vmsdk.errors import VMError
from vmsdk.events import Event
from vmsdk.rpc.eventsource import EventSource
from vmsdk.rpc.faults import FaultLog

if TYPE_CHECKING:
    from vmsdk.services.messenger import MessengerClient

# The node acts on a message when its engine is free, and may drop one while it bootstraps. Telling
# again is harmless: the node's queue holds one message and refuses the next.
RETELL_S = 5.0
FULL_QUEUE_S = 0.1


class Notifier:
    """A thread that tells each event once, and again when the node has not acted on it."""

    def __init__(
        self, events: EventSource, messenger: MessengerClient, faults: FaultLog, log: logging.Logger
    ) -> None:
        self._events = events
        self._messenger = messenger
        self._faults = faults
        self._log = log
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmsdk-notifier", daemon=True)

    def start(self) -> None:
        """Begin to tell events."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more. The event source must be closed before; blocks no longer than a call."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                event = self._events.wait(self._events.begin())
                if event is None:
                    return  # the chain ends
                self._tell(event)
            except BaseException as error:  # noqa: BLE001 - the author's wait_for_event; the chain must go on
                self._faults.record("wait_for_event", error, "asked again in 100 ms")
                self._stopped.wait(FULL_QUEUE_S)

    def _tell(self, event: Event) -> None:
        hearings = self._events.hearings(event)
        try:
            queued = self._messenger.notify(event)
        except VMError as error:
            if not self._stopped.is_set():
                self._log.warning("the node was not told of %s: %s", event.name, error)
            queued = False
        if queued:
            self._events.queued(event)
        else:
            self._events.untold(event)
        self._events.wait_until_heard(event, hearings, RETELL_S if queued else FULL_QUEUE_S)
