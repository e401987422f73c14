"""Following log files that grow and are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmsdk.network.logs import LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main.log"


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_each_line_is_read_once(path: Path) -> None:
    log = LogFile(path)
    add(path, "one\ntwo\n")
    assert log.new_lines() == ["one", "two"]
    assert log.new_lines() == []
    add(path, "three\n")
    assert log.new_lines() == ["three"]


def test_a_line_is_read_when_it_is_whole(path: Path) -> None:
    log = LogFile(path)
    add(path, "ha")
    assert log.new_lines() == []
    add(path, "lf\nnext")
    assert log.new_lines() == ["half"]


def test_a_character_cut_in_the_middle_comes_out_whole(path: Path) -> None:
    log, encoded = LogFile(path), "é\n".encode()
    path.write_bytes(encoded[:1])
    assert log.new_lines() == []
    path.write_bytes(encoded)
    assert log.new_lines() == ["é"]


def test_bytes_that_are_no_utf_8_do_not_stop_it(path: Path) -> None:
    path.write_bytes(b"\xff\nnext\n")
    assert LogFile(path).new_lines() == ["\ufffd", "next"]


def test_no_file_yet_has_no_lines(path: Path) -> None:
    log = LogFile.at_end(path)
    assert log.new_lines() == []
    add(path, "first\n")
    assert log.new_lines() == ["first"]


def test_a_reader_at_the_end_reads_only_what_comes(path: Path) -> None:
    add(path, "old\n")
    log = LogFile.at_end(path)
    add(path, "new\n")
    assert log.new_lines() == ["new"]


def test_the_last_lines_and_what_follows_them(path: Path) -> None:
    add(path, "one\ntwo\nthree\n")
    log, lines = LogFile.last_lines(path, 2)
    assert lines == ["two", "three"]
    add(path, "four\n")
    assert log.new_lines() == ["four"]
    assert LogFile.last_lines(path, 0)[1] == []
    assert LogFile.last_lines(path, 9)[1] == ["one", "two", "three", "four"]


def test_a_replaced_file_is_read_from_its_start(path: Path) -> None:
    add(path, "a long first line\n")
    log = LogFile(path)
    log.new_lines()
    path.rename(path.with_suffix(".old"))
    add(path, "the first line of the new file, which is longer than the old file was\n")
    assert log.new_lines() == ["the first line of the new file, which is longer than the old file was"]


def test_a_file_that_became_shorter_is_read_from_its_start(path: Path) -> None:
    add(path, "a long first line\n")
    log = LogFile(path)
    log.new_lines()
    path.write_text("short\n")
    assert log.new_lines() == ["short"]
