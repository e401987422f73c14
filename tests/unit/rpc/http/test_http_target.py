"""A request's target, as an app gets to see it."""

from __future__ import annotations

import pytest

from vmsdk.rpc.http.target import InvalidTarget, parse


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/", "/", b"/", b""),
        ("/ext/bc/2Z/rpc?a=1&b=%20", "/ext/bc/2Z/rpc", b"/ext/bc/2Z/rpc", b"a=1&b=%20"),
        ("/a%20b%2Fc/%C3%A9", "/a b/c/\u00e9", b"/a%20b%2Fc/%C3%A9", b""),
        ("/caf\u00e9", "/caf\u00e9", "/caf\u00e9".encode(), b""),
        ("/%ff", "/\ufffd", b"/%ff", b""),
        ("/a?b?c", "/a", b"/a", b"b?c"),
        ("/a?", "/a", b"/a", b""),
        ("//a//b", "//a//b", b"//a//b", b""),
        ("http://host:1/a?b", "/a", b"/a", b"b"),
        ("http://host?b", "/", b"/", b"b"),
        ("*", "*", b"*", b""),
    ],
)
def test_a_target_is_a_path_and_a_query(target: str, path: str, raw_path: bytes, query: bytes) -> None:
    assert parse(target) == (path, raw_path, query)


@pytest.mark.parametrize(
    "target", ["", "rpc", "a/b", "/a b", "/a\n", "/\x7f", "/%", "/%2", "/%zz", "?a=1", "mailto:x"]
)
def test_what_is_not_a_target_is_named(target: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        parse(target)
    assert repr(target) in str(caught.value)
