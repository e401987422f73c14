"""The streams through which a plugin speaks."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmsdk.runtime.logrecords import json_line
from vmsdk.runtime.logs import MAX_PENDING_BYTES, LineBuffer, LineStream, enable_loggers


@pytest.fixture
def pipe() -> Iterator[tuple[int, LineStream]]:
    """The end to read from, and a stream into the other one."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, LineStream(LineBuffer(writer, "<pipe>"))
    os.close(reader)
    os.close(writer)


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
        stream = LineStream(LineBuffer(log.fileno(), "<log>"))
        for _ in range(3):
            stream.write("x" * (MAX_PENDING_BYTES // 2))
        assert (tmp_path / "log").stat().st_size > MAX_PENDING_BYTES


def test_the_end_of_a_long_line_is_not_a_record_of_its_own(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb", buffering=0) as log:
        buffer = LineBuffer(log.fileno(), "<log>")
        buffer.line_format = json_line("stdout")
        print("x" * (MAX_PENDING_BYTES + 1), file=(stream := LineStream(buffer)))
        print(file=stream)
    texts = [json.loads(line)["msg"] for line in (tmp_path / "log").read_text().splitlines()]
    assert texts == ["x" * (MAX_PENDING_BYTES + 1), ""]


def test_nothing_is_lost_where_the_authors_code_has_made_the_full_pipe_non_blocking(
    pipe: tuple[int, LineStream],
) -> None:
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    os.set_blocking(reader, True)
    text = "x" * 1_000_000 + "\n"
    with ThreadPoolExecutor(1) as pool, os.fdopen(reader, "rb", closefd=False) as source:
        line = pool.submit(source.readline)
        stream.write(text)
        stream.write("\n")  # ends a line that has lost its own end
        assert line.result() == text.encode()


def test_what_is_not_unicode_is_written_escaped(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.write("lone \udcff and Füße\n")
    assert read(reader).decode() == "lone \\udcff and Füße\n"


def test_control_characters_are_escaped_whoever_writes_them(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.write("\x1b[2J\tone\rtwo\r\n")
    stream.buffer.write("Füße \x9b31m\0\x7f\n".encode())
    assert read(reader).decode() == "\\x1b[2J\tone\\x0dtwo\r\nFüße \\x9b31m\\x00\\x7f\n"


def test_a_missing_reader_is_not_a_reason_to_fail() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert LineStream(LineBuffer(writer, "<pipe>")).write("to nobody\n") == len("to nobody\n")
    os.close(writer)


def test_closing_the_stream_leaves_the_descriptor_open(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.write("last words")
    stream.close()
    assert read(reader) == b"last words"
    os.fstat(stream.fileno())


def test_it_is_a_real_text_stream(pipe: tuple[int, LineStream]) -> None:
    reader, stream = pipe
    stream.reconfigure(encoding="latin-1", errors="replace", line_buffering=True, write_through=False)
    assert (stream.encoding, stream.errors, stream.name) == ("utf-8", "replace", "<pipe>")
    stream.buffer.write("bytes: Füße\n".encode())
    stream.writelines(["a", "b\n"])
    print("c", "d", file=stream)
    assert read(reader).decode() == "bytes: Füße\nab\nc d\n"


def test_a_stream_wrapped_or_detached_by_the_author_still_leads_to_the_descriptor(
    pipe: tuple[int, LineStream],
) -> None:
    reader, stream = pipe
    other = io.TextIOWrapper(stream.buffer, encoding="utf-8", line_buffering=True)
    other.write("wrapped\n")
    other.close()
    io.TextIOWrapper(stream.detach(), encoding="utf-8", write_through=True).write("detached\n")
    gc.collect()
    assert read(reader) == b"wrapped\ndetached\n"


def test_a_forked_child_has_a_lock_of_its_own_and_none_of_the_unfinished_lines(
    pipe: tuple[int, LineStream],
) -> None:
    reader, stream = pipe
    stream.write("begun")
    buffer = stream.buffer
    assert isinstance(buffer, LineBuffer)
    with buffer._lock:
        buffer.forget()
        stream.write("of the child\n")
    assert read(reader) == b"of the child\n"


def test_the_loggers_of_vmsdk_stay_enabled_and_others_as_they_are() -> None:
    names = ("vmsdk.anything", "my.chain", "my.other")
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.disabled = True
    enable_loggers("my.chain")
    assert [logger.disabled for logger in loggers] == [False, False, True]
