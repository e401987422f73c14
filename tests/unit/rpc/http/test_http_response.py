"""The rules that an app's response must keep."""

from __future__ import annotations

from typing import Any

import pytest

from vmsdk.rpc.http.response import InvalidResponse, Phase, Response


def start(status: Any = 200, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: Any = b"", more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more_body}


def take(method: str, *messages: dict[str, Any]) -> tuple[Response, bytes]:
    response = Response(method)
    return response, b"".join([response.take(message) for message in messages])


def test_a_response_is_a_start_and_a_body_in_parts() -> None:
    response, sent = take(
        "GET", start(201, (b"x", b"y")), body(b"a", True), body(bytearray(b"b"), True), body()
    )
    assert (response.status, response.headers, sent) == (201, {"X": ["y"]}, b"ab")
    assert response.phase is Phase.COMPLETE
    response.check_complete()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)])
def test_a_response_without_a_body_loses_the_one_it_was_given(method: str, status: int) -> None:
    response, sent = take(method, start(status), body(b"dropped"))
    assert (sent, response.has_body, response.phase) == (b"", False, Phase.COMPLETE)


def test_head_and_304_keep_the_content_length_of_what_a_get_would_give() -> None:
    for method, status in (("HEAD", 200), ("GET", 304)):
        response, _ = take(method, start(status, (b"content-length", b"100")), body())
        assert response.headers == {"Content-Length": ["100"]}


def test_204_has_no_content_length() -> None:
    assert take("GET", start(204, (b"content-length", b"0")), body())[0].headers == {}


def test_trailers_follow_if_they_were_announced() -> None:
    response, _ = take("POST", start(trailers=True), body(b"x"))
    assert response.phase is Phase.TRAILERS
    for more in (True, False):
        response.take(
            {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")], "more_trailers": more}
        )
    assert (response.trailers, response.phase) == ({"Grpc-Status": ["0", "0"]}, Phase.COMPLETE)


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([start(), start()], "twice"),
        ([body()], "before http.response.start"),
        ([start(), body(), body()], "after the last one"),
        ([start(100)], "200 to 599"),
        ([start(101)], "200 to 599"),
        ([start(600)], "200 to 599"),
        ([start("200")], "200 to 599"),
        ([start(), body("text")], "of type str; send bytes"),
        ([start(200, (b"content-length", b"3")), body(b"ab")], "Content-Length is 3, but its body has 2"),
        (
            [start(200, (b"content-length", b"1")), body(b"ab", True)],
            "Content-Length is 1, but its body has 2",
        ),
        ([start(200, (b"content-length", b"-1"))], "not one number"),
        ([start(200, (b"content-length", b"1"), (b"content-length", b"2"))], "not one number"),
        ([start(), body(), {"type": "http.response.trailers", "headers": []}], "did not announce"),
        ([{"type": "websocket.accept"}], "'websocket.accept'"),
        ([{"type": "http.response.push"}], "'http.response.push'"),
    ],
)
def test_a_broken_rule_is_named(messages: list[dict[str, Any]], rule: str) -> None:
    with pytest.raises(InvalidResponse, match=rule):
        take("GET", *messages)


@pytest.mark.parametrize(
    ("messages", "had"),
    [([], "sending a response"), ([start()], "finishing"), ([start(), body(b"", True)], "finishing")],
)
def test_an_unfinished_response_differs_from_none(messages: list[dict[str, Any]], had: str) -> None:
    with pytest.raises(InvalidResponse, match=had):
        take("GET", *messages)[0].check_complete()
