"""Headers between Go's form on the wire and ASGI."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from vmsdk._pb.http import http_pb2
from vmsdk.rpc.http.headers import (
    InvalidHeader,
    canonical,
    from_asgi,
    merge,
    to_asgi,
    to_map,
    to_wire,
    trailer_keys,
)


def wire(**headers: list[str]) -> list[Any]:
    return [SimpleNamespace(key=key.replace("_", "-"), values=values) for key, values in headers.items()]


def test_a_request_header_has_a_lower_case_name_and_one_pair_a_value() -> None:
    assert to_asgi(wire(Content_Type=["text/plain"], X_Many=["1", "2"], X_None=[])) == [
        (b"content-type", b"text/plain"),
        (b"x-many", b"1"),
        (b"x-many", b"2"),
    ]


def test_a_request_header_has_the_bytes_that_the_client_sent() -> None:
    assert to_asgi(wire(X_Name=["caf\u00e9"])) == [(b"x-name", b"caf\xc3\xa9")]


def test_names_that_a_client_or_an_app_makes_up_take_no_memory_afterwards() -> None:
    long = 100_000
    tracemalloc.start()
    try:
        for number in range(50):
            name = f"x-{number}-".ljust(long, "x")
            assert to_asgi([SimpleNamespace(key=name.upper(), values=["1"])]) == [(name.encode(), b"1")]
            assert canonical(name.encode()) is not None
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5 * long


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"content-type", "Content-Type"),
        (b"CONTENT-TYPE", "Content-Type"),
        (b"etag", "Etag"),
        (b"x-a--b-", "X-A--B-"),
        (b"1x", "1x"),
        (b"", None),
        (b"a b", None),
        (b"a:", None),
        (b"a\r\n", None),
        (b"caf\xc3\xa9", None),
    ],
)
def test_a_name_is_spelled_as_in_go_or_is_not_a_name(name: bytes, key: str | None) -> None:
    assert canonical(name) == key


def test_repeated_response_headers_are_values_of_one_key_in_order() -> None:
    assert from_asgi([(b"set-cookie", b"a=1"), (b"x", b"y"), (b"Set-Cookie", b"b=2")]) == {
        "Set-Cookie": ["a=1", "b=2"],
        "X": ["y"],
    }


@pytest.mark.parametrize(
    ("value", "text"), [(b"caf\xc3\xa9", "caf\u00e9"), (b"caf\xe9", "caf\u00e9"), (b" \tx ", "x")]
)
def test_a_response_value_is_utf_8_or_else_latin_1(value: bytes, text: str) -> None:
    assert from_asgi([(b"x", value)]) == {"X": [text]}


@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: x=1", b"a\nb", b"a\rb", b"a\0b", b"\r\n"])
def test_a_value_that_would_forge_headers_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidHeader) as caught:
        from_asgi([(b"x-name", value)])
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", [b"", b"a b", b"a\r\nb", b"a:b"])
def test_a_name_that_is_not_a_token_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidHeader, match="a name that HTTP does not allow"):
        from_asgi([(name, b"x")])


def test_headers_of_the_connection_are_the_nodes_but_an_app_may_close_it() -> None:
    given = [
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"5"),
        (b"upgrade", b"h2c"),
        (b"connection", b"upgrade"),
    ]
    assert from_asgi(given) == {}
    assert from_asgi([(b"connection", b"Close")]) == {"Connection": ["Close"]}


def test_the_apps_headers_replace_the_nodes_of_the_same_name_and_vary_is_joined() -> None:
    node = {"Node-Id": ["N"], "Access-Control-Allow-Origin": ["*"], "Vary": ["Origin"]}
    app = {"Access-Control-Allow-Origin": ["https://x"], "Vary": ["Accept"], "X": ["y"]}
    assert merge(node, app) == {
        "Node-Id": ["N"],
        "Access-Control-Allow-Origin": ["https://x"],
        "Vary": ["Origin", "Accept"],
        "X": ["y"],
    }
    assert node["Vary"] == ["Origin"]


def test_a_map_and_the_wire_are_each_others_reverse() -> None:
    headers = {"X-A": ["1", "2"], "X-B": []}
    assert to_map(to_wire(headers, http_pb2.Element)) == headers


def test_a_trailer_is_marked_like_in_go() -> None:
    assert trailer_keys({"Grpc-Status": ["0"]}) == {"Trailer:Grpc-Status": ["0"]}
