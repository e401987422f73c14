"""What nodes have said of themselves, kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmsdk.runtime.ancestors import Ancestor
from vmsdk.runtime.answercache import MAX_ENTRIES, AnswerCache
from vmsdk.runtime.release import Release

RELEASE = Release("metalgo/1.13.5", 43)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "share" / "nodes"


def node(path: Path, content: str = "a node") -> Ancestor:
    path.write_text(content, encoding="utf-8")
    return Ancestor(1, str(path), str(path))


def test_an_answer_is_kept_for_the_next_process(directory: Path, tmp_path: Path) -> None:
    asked = node(tmp_path / "metalgo")
    assert AnswerCache(str(directory)).get(asked) is None
    AnswerCache(str(directory)).put(asked, RELEASE)
    assert AnswerCache(str(directory)).get(asked) == RELEASE


def test_a_file_of_another_size_is_another_node(directory: Path, tmp_path: Path) -> None:
    cache = AnswerCache(str(directory))
    cache.put(node(tmp_path / "metalgo"), RELEASE)
    assert cache.get(node(tmp_path / "metalgo", "a newer node")) is None


def test_a_path_that_is_no_text_is_a_path_all_the_same(directory: Path, tmp_path: Path) -> None:
    cache = AnswerCache(str(directory))
    asked = node(tmp_path / "m\udcff\ntal\u00e9")
    cache.put(asked, RELEASE)
    assert cache.get(asked) == RELEASE


def test_an_executable_that_is_gone_has_no_answer(directory: Path, tmp_path: Path) -> None:
    cache = AnswerCache(str(directory))
    asked = node(tmp_path / "metalgo")
    cache.put(asked, RELEASE)
    (tmp_path / "metalgo").unlink()
    assert cache.get(asked) is None
    cache.put(asked, RELEASE)


def test_any_number_of_nodes_leaves_but_a_few_files(directory: Path, tmp_path: Path) -> None:
    cache = AnswerCache(str(directory))
    for number in range(MAX_ENTRIES + 2):
        last = node(tmp_path / f"node{number}")
        cache.put(last, RELEASE)
    assert len(list(directory.iterdir())) <= MAX_ENTRIES
    assert cache.get(last) == RELEASE
