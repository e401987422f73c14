"""Recognises the apps that can be mounted: ASGI apps, WSGI apps and JSON-RPC services."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, cast

from vmsdk.annotations import signature
from vmsdk.errors import VMError
from vmsdk.http.asgi import ASGI, ASGIApp
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.http.wsgi import WSGI

_ASGI_ARGUMENTS = ("scope", "receive", "send")
_WSGI_ARGUMENTS = ("environ", "start_response")


class NotAnApp(VMError, TypeError):
    """`create_handlers` returned something at *prefix* that is not an app; *reason* says why
    and how to fix it.
    """

    def __init__(self, prefix: str | None, app: object, reason: str) -> None:
        self.prefix = prefix
        self.app = app
        self.reason = reason
        where = "new_http_handler" if prefix is None else f"create_handlers()[{prefix!r}]"
        text = repr(app)
        super().__init__(f"{where} is {text if len(text) <= 100 else text[:97] + '...'}: {reason}")


def as_asgi(app: object, *, prefix: str | None) -> ASGIApp:
    """*app* as an ASGI 3 app: it may be one, a WSGI app, or a `JSONRPC` service.

    *prefix* is where it will be mounted, for the error message; None for the header-routed handler.
    Raises `NotAnApp`.
    """
    if isinstance(app, (ASGI, WSGI, JSONRPC)):
        return app
    if isinstance(app, type):
        raise NotAnApp(prefix, app, f"mount an instance, such as {app.__name__}(...)")
    if not callable(app):
        raise NotAnApp(prefix, app, _fix_for_uncallable(app))
    positional, by_star = _positional_arguments(app)
    if _is_coroutine_function(app):
        if len(positional) == 3 or (by_star and len(positional) < 3):
            return cast("ASGIApp", app)
        raise NotAnApp(prefix, app, "an ASGI app takes exactly (scope, receive, send)")
    if positional == _ASGI_ARGUMENTS:
        return cast("ASGIApp", app)
    if positional == _WSGI_ARGUMENTS:
        return WSGI(app)
    if positional == ("scope",):
        fix = "make it ASGI 3 with asgiref.compatibility.guarantee_single_callable"
        raise NotAnApp(prefix, app, f"it looks like ASGI 2; {fix}")
    if by_star or len(positional) in (2, 3):
        fix = "choose one with vmsdk.http.ASGI(app) or vmsdk.http.WSGI(app)"
        raise NotAnApp(prefix, app, f"it could be ASGI or WSGI: {fix}")
    expected = "an ASGI app takes (scope, receive, send) and a WSGI app (environ, start_response)"
    raise NotAnApp(prefix, app, f"{expected}, not ({', '.join(positional)})")


def _positional_arguments(app: Any) -> tuple[tuple[str, ...], bool]:
    """The names of the positional arguments without a default, and whether `*args` takes more."""
    try:
        parameters = signature(app).parameters.values()
    except (TypeError, ValueError):  # Probably written in C, without a signature.
        return (), True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(p.name for p in parameters if p.kind in kinds and p.default is p.empty)
    return names, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _is_coroutine_function(app: Any) -> bool:
    while isinstance(app, functools.partial):
        app = app.func
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _fix_for_uncallable(app: object) -> str:
    if app is None:
        return "leave the prefix out if there is nothing to mount"
    if isinstance(app, (str, bytes, int, float, list, tuple, set, Mapping)) or inspect.ismodule(app):
        return "mount an ASGI app, a WSGI app, or a vmsdk.http.JSONRPC service"
    if inspect.iscoroutine(app):
        return "nothing awaits it: make the app in a plain function"
    name = type(app).__name__.lower()
    return f'to serve its methods by JSON-RPC, mount vmsdk.http.JSONRPC("{name}", ...) around it'
