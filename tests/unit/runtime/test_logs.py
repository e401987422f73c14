"""The streams through which a plugin speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.runtime.logs import MAX_PENDING_CHARS, LineStream


@pytest.fixture
def pipe() -> Iterator[tuple[int, LineStream]]:
    """The end to read from, and a stream into the other one."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, LineStream(writer)
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            pass  # a test has closed it


def read(reader: int) -> bytes:
    try:
        return os.read(reader, 1_000_000)
    except BlockingIOError:
        return b""


def test_a_line_is_written_when_it_ends(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.write("half ")
    assert read(reader) == b""
    stream.write("a line\nand more")
    assert read(reader) == b"half a line\n"
    stream.flush()
    assert read(reader) == b"and more"


def test_a_line_that_never_ends_is_written_in_pieces(tmp_path: Path) -> None:
    # A file: a pipe holds less than that.
    with open(tmp_path / "log", "wb", buffering=0) as log:
        stream = LineStream(log.fileno())
        for _ in range(3):
            stream.write("x" * (MAX_PENDING_CHARS // 2))
        assert (tmp_path / "log").stat().st_size > MAX_PENDING_CHARS


def test_what_is_no_unicode_is_written_escaped(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.write("lone \udcff and Füße\n")
    assert read(reader).decode() == "lone \\udcff and Füße\n"


def test_a_reader_that_is_gone_is_no_reason_to_fail(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    os.close(reader)
    assert stream.write("to nobody\n") == len("to nobody\n")


def test_closing_the_stream_leaves_the_descriptor_open(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.write("last words")
    stream.close()
    assert read(reader) == b"last words"
    os.fstat(stream.fileno())
