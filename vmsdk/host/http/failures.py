"""What goes wrong on a connection, with the texts that a Go node puts into its answers."""

from __future__ import annotations


class IOFailed(Exception):
    """Reading or writing failed. The text is Go's own."""


class DeadlineExceeded(IOFailed):
    """A deadline passed. The text is Go's own."""


class Refused(Exception):
    """The client broke a rule of HTTP: it gets *status* and a sentence, and its connection ends."""

    def __init__(self, status: int, reason: str = "") -> None:
        self.status = status
        self.reason = reason
        super().__init__(reason)


BODY_NOT_ALLOWED = "http: request method or response status code does not allow body"
WROTE_TOO_MUCH = "http: wrote more than the declared Content-Length"
HIJACKED = "http: connection has been hijacked"
BODY_CLOSED = "http: invalid Read on closed Body"
UNEXPECTED_EOF = "unexpected EOF"
NO_HIJACKING = "response writer doesn't support hijacking"
