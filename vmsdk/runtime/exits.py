"""Ends of a plugin process that a person has to do something about."""

from __future__ import annotations

# As for a command called wrongly: nothing ran, and running it again the same way changes nothing.
USAGE_STATUS = 2


class CannotServe(Exception):
    """The plugin can't go on. The text is one message for a person: what, which value, and the cure."""
