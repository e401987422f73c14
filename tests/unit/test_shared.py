"""A test that fails, or uses it up, takes with it what it shares with the next."""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

TESTS = """
import contextlib
import pytest
from tests.shared import Shared

made = []

@contextlib.contextmanager
def make():
    made.append([])
    yield made[-1]
    made[-1].append("ended")

@pytest.fixture(scope="module")
def shared():
    with Shared(make) as shared:
        yield shared
    assert [each[-1] for each in made] == ["ended"] * len(made)

@pytest.fixture
def thing(shared, request):
    with shared.lent(request.session) as thing:
        yield thing

def test_first(thing):
    thing.append("first")

def test_second(thing):
    assert thing == ["first"]
    raise ValueError("the second")

def test_third(thing, shared):
    assert made == [["first", "ended"], []]
    shared.end()

def test_fourth(thing):
    assert made == [["first", "ended"], ["ended"], []]
"""


def test_what_tests_share_is_made_anew_after_one_has_failed_or_used_it_up(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*ValueError: the second"])
