"""WSGI apps served as ASGI, by the rules of PEP 3333."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import flask
import pytest

from vmsdk.http import WSGI


class Client:
    """One request to a WSGI app by way of ASGI."""

    def __init__(self, *parts: bytes, leaves: bool = False, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "root_path": "",
            "query_string": b"",
            "http_version": "1.1",
            "headers": [],
            **scope,
        }
        self.parts = list(parts) or [b""]
        self.leaves = leaves
        self.sent: list[Any] = []
        self.on_body = asyncio.Event()

    async def receive(self) -> Any:
        if not self.parts:
            return {"type": "http.disconnect"}
        more = len(self.parts) > 1 or self.leaves
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": more}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def ask(self, app: Any) -> Client:
        asyncio.run(WSGI(app)(self.scope, self.receive, self.send))
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def test_the_reference_validator_finds_nothing_wrong() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        # The validator wants a read with a size, and header names of its own choosing.
        body = environ["wsgi.input"].read(100)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    client = Client(
        b"one", b"two", method="POST", headers=[(b"content-type", b"text/plain")], query_string=b"a=1"
    )
    assert client.ask(validator(app)).body == b"onetwo"
    assert client.status == 200


def test_the_environment_says_what_the_scope_says() -> None:
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    Client(
        b"xy",
        method="POST",
        root_path="/ext/bc/2Z/api",
        path="/ext/bc/2Z/api/caf\u00e9",
        query_string=b"q=%C3%A9",
        scheme="https",
        http_version="2",
        server=("node", 9650),
        client=("10.0.0.1", 4242),
        headers=[
            (b"content-type", b"text/plain"),
            (b"x-many", b"1"),
            (b"x-many", b"2"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"x_forged", b"evil"),
        ],
    ).ask(app)
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/ext/bc/2Z/api",
        "PATH_INFO": "/caf\u00c3\u00a9",
        "QUERY_STRING": "q=%C3%A9",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "2",
        "SERVER_NAME": "node",
        "SERVER_PORT": "9650",
        "SERVER_PROTOCOL": "HTTP/2",
        "REMOTE_ADDR": "10.0.0.1",
        "HTTP_X_MANY": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "wsgi.url_scheme": "https",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
    }
    assert {key: seen.get(key) for key in expected} == expected
    assert "evil" not in seen.values()


def test_the_app_runs_in_another_thread() -> None:
    threads: list[threading.Thread] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        threads.append(threading.current_thread())
        start_response("204 No Content", [])
        return []

    assert Client().ask(app).status == 204
    assert threads != [threading.current_thread()]


def test_a_body_that_is_still_arriving_is_read_as_it_comes() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        lines = list(environ["wsgi.input"])
        start_response("200 OK", [])
        return [b"|".join(lines)]

    assert Client(b"a\nb", b"", b"c\n", b"d").ask(app).body == b"a\n|bc\n|d"


def test_a_client_that_leaves_in_its_body_is_an_error_of_the_read() -> None:
    caught: list[Exception] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            caught.append(error)
        start_response("200 OK", [])
        return []

    Client(b"half", leaves=True).ask(app)
    assert "the client disconnected" in str(caught[0])


def test_each_chunk_is_sent_before_the_next_one_is_made() -> None:
    client = Client()
    seen: list[int] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for chunk in (b"a", b"", b"b"):
            yield chunk
            seen.append(len(client.sent))

    assert client.ask(app).body == b"ab"
    assert seen == [2, 2, 3]  # The start and "a"; nothing for an empty chunk; "b".


def test_the_write_callable_comes_before_the_iterable() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"written ")
        return [b"returned"]

    assert Client().ask(app).body == b"written returned"


def test_the_iterable_is_closed_also_when_it_fails() -> None:
    class Chunks:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            raise RuntimeError("broken")

        def close(self) -> None:
            Chunks.closed += 1

    def app(environ: Any, start_response: Any) -> Chunks:
        start_response("200 OK", [])
        return Chunks()

    with pytest.raises(RuntimeError, match="broken"):
        Client().ask(app)
    assert Chunks.closed == 1


def test_an_app_that_finds_its_client_gone_ends_quietly_and_is_closed() -> None:
    class Chunks(list[bytes]):
        closed = False

        def close(self) -> None:
            self.closed = True

    chunks = Chunks([b"a", b"b"])

    class Gone(Client):
        async def send(self, message: Any) -> None:
            raise ConnectionResetError("gone")

    def app(environ: Any, start_response: Any) -> Chunks:
        start_response("200 OK", [])
        return chunks

    Gone().ask(app)
    assert chunks.closed


def test_with_exc_info_the_answer_may_be_replaced_until_it_has_begun() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Old", "1")])
        try:
            raise KeyError("late")
        except KeyError:
            start_response("500 Sorry", [("X-New", "1")], sys.exc_info())
        return [b"sorry"]

    client = Client().ask(app)
    assert (client.status, client.headers) == (500, [(b"x-new", b"1")])


def test_with_exc_info_after_the_begin_the_exception_is_raised_again() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        try:
            raise KeyError("too late")
        except KeyError:
            start_response("500 Sorry", [], sys.exc_info())

    with pytest.raises(KeyError, match="too late"):
        Client().ask(app)


def call_start_response(*calls: tuple[Any, ...]) -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        for call in calls:
            start_response(*call)
        return [b"x"]

    return app


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        (call_start_response(), "before calling start_response"),
        (call_start_response(("200 OK", []), ("200 OK", [])), "called twice"),
        (call_start_response(("OK", [])), '"200 OK"'),
        (call_start_response((200, [])), '"200 OK"'),
        (call_start_response(("200 OK", [("Connection", "close")])), "PEP 3333"),
        (call_start_response(("200 OK", [("X", 1)])), "pair of str"),
        (call_start_response(("200 OK", [("X", "\u20ac")])), "latin-1"),
        (lambda environ, start_response: [], "without calling start_response"),
        (lambda environ, start_response: start_response("200 OK", []) and ["text"], "yields bytes, not str"),
    ],
)
def test_the_error_names_the_rule_that_an_app_breaks(app: Any, complaint: str) -> None:
    with pytest.raises((RuntimeError, ValueError, TypeError), match=complaint):
        Client().ask(app)


def test_flask_works_below_its_root() -> None:
    app = flask.Flask("x")

    @app.post("/echo/<name>")
    def echo(name: str) -> Any:
        return {"name": name, "json": flask.request.get_json(), "url": flask.url_for("echo", name="y")}

    client = Client(
        b'{"a":', b"1}", method="POST", root_path="/ext/bc/2Z", path="/ext/bc/2Z/echo/x",
        headers=[(b"content-type", b"application/json"), (b"content-length", b"7")],
    )  # fmt: skip
    client.ask(app)
    assert client.status == 200
    assert b'"url":"/ext/bc/2Z/echo/y"' in client.body


def test_a_websocket_is_refused() -> None:
    client = Client(type="websocket")
    client.ask(lambda environ, start_response: [])
    assert client.sent == [
        {"type": "websocket.close", "code": 1008, "reason": "this app is WSGI, which has no WebSockets"}
    ]
