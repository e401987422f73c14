"""`Read` of the reader and connection services: one read, told in the words of each protocol version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vmsdk._pb.io.reader import reader_pb2
from vmsdk._pb.net.conn import conn_pb2
from vmsdk.host.http.failures import DeadlineExceeded, IOFailed
from vmsdk.protocol import Protocol

_EOF = "EOF"

Source = Callable[[int], Awaitable[bytes]]
"""One read of up to so many bytes; nothing means the end, unless nothing was asked for."""


async def from_reader(source: Source, length: int, protocol: Protocol) -> reader_pb2.ReadResponse:
    """The answer of `io.reader.Reader`."""
    data, failure = await _read(source, length)
    response = reader_pb2.ReadResponse(read=data)
    if failure is not None:
        text = str(failure)
        error = reader_pb2.Error(message=text)
        if isinstance(failure, _EndOfFile):
            error.error_code = reader_pb2.ERROR_CODE_EOF
        response.error = text.encode() if protocol.text_io_errors else error.SerializeToString()
    return response


async def from_connection(source: Source, length: int, protocol: Protocol) -> conn_pb2.ReadResponse:
    """The answer of `net.conn.Conn`, which knows deadlines as well."""
    data, failure = await _read(source, length)
    response = conn_pb2.ReadResponse(read=data)
    if failure is not None:
        text = str(failure)
        error = conn_pb2.Error(message=text)
        if isinstance(failure, _EndOfFile):
            error.error_code = conn_pb2.ERROR_CODE_EOF
        elif isinstance(failure, DeadlineExceeded):
            error.error_code = conn_pb2.ERROR_CODE_OS_ERR_DEADLINE_EXCEEDED
        response.error = text.encode() if protocol.text_io_errors else error.SerializeToString()
    return response


class _EndOfFile(IOFailed):
    def __init__(self) -> None:
        super().__init__(_EOF)


async def _read(source: Source, length: int) -> tuple[bytes, IOFailed | None]:
    if length < 0:
        raise ValueError(f"makeslice: len out of range: a read of {length} bytes ends a node's process")
    try:
        data = await source(length)
    except IOFailed as error:
        return b"", error
    return data, None if data or not length else _EndOfFile()
