"""What `create_handlers` may return, and what an author is told about anything else."""

from __future__ import annotations

import functools
import types
from typing import Any

import fastapi
import flask
import pytest

from vmsdk.http import ASGI, JSONRPC, WSGI, NotAnApp, as_asgi


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


class Service:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    "app",
    [
        asgi,
        functools.partial(asgi),
        fastapi.FastAPI(),
        fastapi.APIRouter(),
        ASGI(asgi),
        JSONRPC("x", Service()),
    ],
)
def test_an_asgi_app_is_taken_as_it_is(app: Any) -> None:
    assert as_asgi(app, prefix="") is app


@pytest.mark.parametrize("app", [wsgi, functools.partial(wsgi), flask.Flask("x")])
def test_a_wsgi_app_is_wrapped(app: Any) -> None:
    wrapped = as_asgi(app, prefix="")
    assert isinstance(wrapped, WSGI)
    assert wrapped.app is app


def test_a_plain_function_with_the_arguments_of_asgi_is_asgi() -> None:
    def app(scope: Any, receive: Any, send: Any) -> Any:
        return asgi(scope, receive, send)

    assert as_asgi(app, prefix="") is app


def test_explicit_wrappers_settle_what_looks_tell_wrong() -> None:
    def app(*args: Any) -> Any: ...

    assert as_asgi(ASGI(app), prefix="").app is app  # type: ignore[attr-defined]
    assert as_asgi(WSGI(app), prefix="").app is app  # type: ignore[attr-defined]


def two(a: Any, b: Any) -> None: ...
def three(a: Any, b: Any, c: Any) -> None: ...
def star(*args: Any) -> None: ...
def one(scope: Any) -> None: ...
def none() -> None: ...
async def async_two(a: Any, b: Any) -> None: ...


def closed(coroutine: Any) -> Any:
    coroutine.close()
    return coroutine


@pytest.mark.parametrize(
    ("app", "cure"),
    [
        (two, "vmsdk.http.WSGI(app)"),
        (three, "vmsdk.http.ASGI(app)"),
        (star, "vmsdk.http.ASGI(app)"),
        (one, "ASGI 2"),
        (none, "not ()"),
        (async_two, "exactly (scope, receive, send)"),
        (fastapi.FastAPI, "mount an instance"),
        (Service(), 'vmsdk.http.JSONRPC("service", ...)'),
        (None, "leave the prefix out"),
        ("module:app", "mount an ASGI app"),
        ({}, "mount an ASGI app"),
        (types.ModuleType("x"), "mount an ASGI app"),
        (closed(async_two(1, 2)), "make the app in a plain function"),
    ],
)
def test_what_is_not_an_app_is_named_with_its_prefix_and_the_fix(app: Any, cure: str) -> None:
    with pytest.raises(NotAnApp) as caught:
        as_asgi(app, prefix="/rpc")
    assert isinstance(caught.value, TypeError)
    assert "create_handlers()['/rpc']" in str(caught.value)
    assert cure in str(caught.value)
    assert caught.value.app is app


def test_the_header_routed_handler_is_named_as_such() -> None:
    with pytest.raises(NotAnApp, match="new_http_handler is 7"):
        as_asgi(7, prefix=None)


@pytest.mark.parametrize("wrapper", [ASGI, WSGI])
def test_wrappers_refuse_what_cannot_be_called(wrapper: Any) -> None:
    with pytest.raises(TypeError, match="not callable"):
        wrapper(None)
