"""Why a transaction is refused."""

from __future__ import annotations

from vmsdk.errors import VMError


class Invalid(VMError):
    """A transaction breaks a rule: `Invalid("an entry has 1 to 140 bytes", length=141)`.

    *reason* names the rule, *details* the values; the text is "reason (length=141)".
    """

    def __init__(self, reason: str, **details: object) -> None:
        self.reason = reason
        self.details = details
        values = ", ".join(f"{name}={value}" for name, value in details.items())
        super().__init__(f"{reason} ({values})" if values else reason)


class NotYet(Invalid):
    """A transaction breaks a rule now, but may satisfy it later: its nonce is too high, say."""
