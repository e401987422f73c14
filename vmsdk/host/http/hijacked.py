"""A connection taken over from the HTTP server, with the buffer that the server had filled (`bufio.ReadWriter`)."""

from __future__ import annotations

from vmsdk.host.http.rawconnection import RawConnection

# Source: net/http/server.go, newBufioReader and newBufioWriterSize.
_READER_BYTES = 4096
_WRITER_BYTES = 4096


class Hijacked:
    """The raw connection, and beside it the two buffered ends. Nobody ever flushes the writing one."""

    def __init__(self, connection: RawConnection, buffered: bytes) -> None:
        self.connection = connection
        self._read_ahead = buffered
        self._unwritten = bytearray()

    async def read_buffered(self, limit: int) -> bytes:
        """Up to *limit* bytes: first those that the HTTP server had read already. Raises like the connection."""
        if not self._read_ahead:
            data = await self.connection.read(max(limit, _READER_BYTES) if limit > 0 else 0)
            # A large read passes by the buffer, a small one leaves there what it didn't ask for.
            self._read_ahead += data
        data, self._read_ahead = self._read_ahead[:limit], self._read_ahead[limit:]
        return data

    async def write_buffered(self, data: bytes) -> int:
        """Put *data* into the buffer; only what overflows it reaches the client."""
        self._unwritten += data
        if len(self._unwritten) > _WRITER_BYTES:
            excess = len(self._unwritten) - len(self._unwritten) % _WRITER_BYTES
            overflow = bytes(self._unwritten[:excess])
            del self._unwritten[:excess]
            await self.connection.write(overflow)
        return len(data)
