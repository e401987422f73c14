"""Lines out of a process's bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vmsdk.host.plugin import MAX_LINE_CHARACTERS, LogStream


def lines_of(*pieces: bytes) -> list[str]:
    lines: list[str] = []
    stream = LogStream(lines.append)
    for piece in pieces:
        stream.feed(piece)
    stream.end()
    return lines


def test_a_line_ends_with_lf_or_crlf_and_the_last_one_needs_no_end() -> None:
    assert lines_of(b"one\ntwo\r\n\nthree") == ["one", "two", "", "three"]


def test_nothing_gives_no_line() -> None:
    assert lines_of() == lines_of(b"") == []


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert lines_of(b"a\xffb\n\xc3") == ["a\ufffdb", "\ufffd"]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"])), st.data())
def test_where_the_bytes_are_cut_does_not_matter(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cut = data.draw(st.integers(0, len(encoded)))
    assert lines_of(encoded[:cut], encoded[cut:]) == lines_of(encoded)


def test_an_endless_line_is_shown_in_pieces_as_it_comes() -> None:
    lines: list[str] = []
    stream = LogStream(lines.append)
    stream.feed(b"x" * (2 * MAX_LINE_CHARACTERS + 1))
    assert [len(line) for line in lines] == [MAX_LINE_CHARACTERS] * 2
    stream.feed(b"\n")
    assert lines[-1] == "x"


def test_a_long_line_that_comes_at_once_is_shown_in_pieces_too() -> None:
    assert [len(line) for line in lines_of(b"x" * (MAX_LINE_CHARACTERS + 1) + b"\n")] == [
        MAX_LINE_CHARACTERS,
        1,
    ]
