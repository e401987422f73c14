"""The exceptions of chains."""

from __future__ import annotations

from typing import Any

from vmsdk.errors import Refused


class Invalid(Refused):
    """A transaction breaks a rule. Raised by `Chain.execute` and `Chain.check`.

    Clients get *reason* with *details*, the values that broke the rule: the message of
    `Invalid("an entry has 1 to 140 bytes", length=200)` is "an entry has 1 to 140 bytes
    (length=200)".
    """

    def __init__(self, reason: str, **details: Any) -> None:
        self.reason = reason
        self.details = details
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in details.items())
        super().__init__(f"{reason} ({shown})" if shown else reason)


class NotYet(Invalid):
    """A transaction is invalid now, but may become valid: its nonce is too high, for example.

    If the transaction has a `sender`, the mempool keeps it for a while, and tries it again when
    earlier ones of that sender have arrived. No block may contain it.
    """


class MempoolFull(Refused):
    """The mempool has no room for the transaction. The message names the limit. Try again later."""


class SnapshotUnavailable(Refused):
    """The snapshot is too old, or too many are open. Open a new one for each request."""


def _shown(value: Any) -> str:
    return "0x" + value.hex() if type(value) is bytes else str(value)
