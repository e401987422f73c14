"""What the rules, the mempool and the snapshots of a chain raise."""

from __future__ import annotations

from typing import Any

from vmsdk.errors import Refused


class Invalid(Refused):
    """A transaction breaks a rule. Raised by `Chain.execute` and `Chain.check`.

    *reason* is for the client who reads it; *details* are the values that broke the rule:
    `Invalid("an entry has 1 to 140 bytes", length=200)` reads "an entry has 1 to 140 bytes
    (length=200)".
    """

    def __init__(self, reason: str, **details: Any) -> None:
        self.reason = reason
        self.details = details
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in details.items())
        super().__init__(f"{reason} ({shown})" if shown else reason)


class NotYet(Invalid):
    """A transaction breaks a rule now, but may keep it later: its nonce is too high, for example.

    The mempool keeps such a transaction of a sender for a while, and tries it again when earlier
    ones of that sender have arrived. In a block it is as invalid as any other.
    """


class MempoolFull(Refused):
    """The mempool has no room for the transaction; the text says which limit it hit. Try later."""


class SnapshotUnavailable(Refused):
    """The snapshot is too old, or too many are open. Open a new one for each request."""


def _shown(value: Any) -> str:
    return "0x" + value.hex() if type(value) is bytes else str(value)
