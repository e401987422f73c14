"""Cross-origin requests, answered as a node does with its default settings: every origin is allowed.

Source: api/server/server.go, which uses github.com/rs/cors 1.7 with credentials allowed.
"""

from __future__ import annotations

from vmsdk.host.http import header
from vmsdk.host.http.header import Header

_METHODS = ("GET", "POST", "HEAD", "OPTIONS")
_HEADERS = ("Origin", "Accept", "Content-Type", "X-Requested-With")


def is_preflight(method: str, request: Header) -> bool:
    """A browser asks whether it may send a request; the node answers by itself, with 200."""
    return method == "OPTIONS" and bool(header.first(request, "Access-Control-Request-Method"))


def preflight(request: Header, response: Header) -> None:
    """Set the headers that answer a preflight request."""
    for name in ("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"):
        header.add(response, "Vary", name)
    method = header.first(request, "Access-Control-Request-Method").upper()
    asked = header.first(request, "Access-Control-Request-Headers")
    names = [header.canonical(name.strip()) for name in asked.split(",") if name.strip()]
    if not header.first(request, "Origin") or method not in _METHODS:
        return
    if any(name not in _HEADERS for name in names):
        return
    response["Access-Control-Allow-Origin"] = ["*"]
    response["Access-Control-Allow-Methods"] = [method]
    if names:
        response["Access-Control-Allow-Headers"] = [", ".join(names)]
    response["Access-Control-Allow-Credentials"] = ["true"]


def actual(method: str, request: Header, response: Header) -> None:
    """Set the headers that go with the answer to *request*."""
    header.add(response, "Vary", "Origin")
    if header.first(request, "Origin") and method.upper() in _METHODS:
        response["Access-Control-Allow-Origin"] = ["*"]
        response["Access-Control-Allow-Credentials"] = ["true"]
