"""The keys of `create_handlers`: which a node takes, and what an app sees of a path below one."""

from __future__ import annotations

from typing import Any

import pytest

from vmsdk.http import subpaths
from vmsdk.http.mount import InvalidPrefix, Mount, prefix_of


@pytest.mark.parametrize(
    "prefix", ["", "/", "/rpc", "/a/b", "/{path:.*}", "/api{path:|/.*}", "/u/{id:[0-9]{3}}/x"]
)
def test_a_prefix_is_empty_or_a_path_or_a_template(prefix: str) -> None:
    assert Mount(prefix).prefix == prefix


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("rpc", "write '/rpc'"),
        ("/a b", "spaces"),
        ("/a\n", "control"),
        ("//host/x", "host"),
        ("/a?x=1", "query"),
        ("/a#b", "query"),
        ("/{a", "braces"),
        ("/a}", "braces"),
        ("/{a:(}", "pattern"),
        (7, "is a str"),
        (None, "is a str"),
    ],
)
def test_a_prefix_that_a_node_refuses_is_named_with_the_reason(prefix: Any, reason: str) -> None:
    with pytest.raises(InvalidPrefix) as caught:
        Mount(prefix)
    assert reason in str(caught.value)
    assert repr(prefix) in str(caught.value)


@pytest.mark.parametrize(
    ("prefix", "path", "matches"),
    [
        ("/rpc", "/rpc", True),
        ("/rpc", "/rpc/", False),
        ("", "", True),
        ("", "/", False),
        ("/{path:.*}", "/", True),
        ("/{path:.*}", "/a/b", True),
        ("/{path:.*}", "", False),
        (subpaths("/api"), "/api", True),
        (subpaths("/api"), "/api/", True),
        (subpaths("/api"), "/api/a/b", True),
        (subpaths("/api"), "/apis", False),
        ("/{name}", "/a", True),
        ("/{name}", "/a/b", False),
        ("/a.b", "/axb", False),
        ("/u/{id:[0-9]{3}}/x", "/u/123/x", True),
        ("/u/{id:[0-9]{3}}/x", "/u/12/x", False),
    ],
)
def test_a_template_matches_whole_paths(prefix: str, path: str, matches: bool) -> None:
    assert Mount(prefix).matches(path) is matches


@pytest.mark.parametrize(
    ("prefix", "path", "root"),
    [
        ("/rpc", "/ext/bc/2Z/rpc", "/ext/bc/2Z/rpc"),
        ("", "/ext/bc/2Z", "/ext/bc/2Z"),
        ("/{path:.*}", "/ext/bc/alias/a/b", "/ext/bc/alias"),
        (subpaths("/api"), "/ext/bc/2Z/api/a", "/ext/bc/2Z/api"),
        (subpaths("/api"), "/ext/bc/2Z/apis", ""),
        ("/api/", "/ext/bc/2Z/api/", "/ext/bc/2Z/api"),
        ("/rpc", "/rpc", ""),
        ("/rpc", "/ext/bc/2Z/other", ""),
    ],
)
def test_an_app_is_rooted_at_the_constant_part_of_its_mount(prefix: str, path: str, root: str) -> None:
    assert Mount(prefix).root_path(path) == root


def test_subpaths_of_the_chain_itself_are_all_below_it() -> None:
    assert subpaths("") == subpaths("/") == "/{path:.*}"
    assert subpaths("/api/") == subpaths("/api") == "/api{path:|/.*}"


def test_subpaths_refuses_what_is_not_a_prefix() -> None:
    with pytest.raises(InvalidPrefix):
        subpaths("api")


@pytest.mark.parametrize(
    ("path", "prefix"), [("/ext/bc/2Z/a/b", "/a/b"), ("/ext/bc/2Z", ""), ("/x.Y/Z", None)]
)
def test_the_prefix_of_a_path_is_what_follows_its_chain(path: str, prefix: str | None) -> None:
    assert prefix_of(path) == prefix
