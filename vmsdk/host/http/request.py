"""A request as a Go node has it before a handler (`http.Request`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from vmsdk.host.http.header import Header
from vmsdk.host.http.url import URL

_READ_BYTES = 64 * 1024


class Body(ABC):
    """The request's body, read once from the client."""

    @abstractmethod
    async def read(self, limit: int) -> bytes:
        """One read: up to *limit* bytes, as soon as there are any; nothing at the end. Raises `IOFailed`."""

    @abstractmethod
    def close(self) -> None:
        """No more is wanted: a read that waits, and each after it, fails."""

    async def read_all(self) -> bytes:
        """Everything up to the end. Raises `IOFailed`."""
        chunks = []
        while chunk := await self.read(_READ_BYTES):
            chunks.append(chunk)
        return b"".join(chunks)


@dataclass
class Request:
    """Its fields have the names and meanings of Go's."""

    method: str
    target: str
    """The raw request target (`RequestURI`)."""
    url: URL
    major: int
    """1 or 2: HTTP's major version."""
    minor: int
    header: Header
    """Without `Host`, `Transfer-Encoding` and `Trailer`, like Go's."""
    host: str
    remote_address: str
    """host:port."""
    content_length: int
    """Bytes; -1 if unknown."""
    body: Body
    transfer_encoding: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        """`HTTP/1.1`, `HTTP/2.0`, …"""
        return f"HTTP/{self.major}.{self.minor}"


def adopt_lines(header: Header) -> str:
    """Do to a fresh header map what Go does to each request's. Returns the host that it names."""
    host = header.pop("Host", [""])[0]
    header.pop("Transfer-Encoding", None)
    header.pop("Trailer", None)
    if header.get("Pragma", [""])[0] == "no-cache" and "Cache-Control" not in header:
        header["Cache-Control"] = ["no-cache"]
    return host
