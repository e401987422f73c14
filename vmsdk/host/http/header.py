"""HTTP header maps as a Go node has them: canonical names, each with the list of its values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from vmsdk._pb.http import http_pb2

Header: TypeAlias = dict[str, list[str]]
"""Values by name. Names from a client are canonical (`Content-Type`); those from a VM are as it spelt them."""

Line: TypeAlias = tuple[bytes, bytes]
"""One header line: name and value."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Go replaces line breaks, so that a value can't start a new header; the others no HTTP library sends.
_UNSENDABLE = re.compile(rb"[\x00\n\v\f\r]")


class Element(Protocol):
    """A header on the wire: `http.Element` and `http.responsewriter.Header` are alike."""

    key: str

    @property
    def values(self) -> Iterable[str]: ...


def canonical(name: str) -> str:
    """*name* as Go spells it: `content-type` becomes `Content-Type`. No token: unchanged."""
    if not _TOKEN.fullmatch(name.encode("utf-8", "surrogateescape")):
        return name
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def from_lines(lines: Iterable[Line]) -> Header:
    """The header map of a request. Bytes that are not UTF-8 are kept as surrogates."""
    header: Header = {}
    for name, value in lines:
        key = canonical(name.decode("utf-8", "surrogateescape"))
        header.setdefault(key, []).append(value.decode("utf-8", "surrogateescape"))
    return header


def first(header: Header, name: str) -> str:
    """The first value of the canonical *name*, or the empty text."""
    values = header.get(name)
    return values[0] if values else ""


def tokens(header: Header, name: str) -> list[str]:
    """The comma-separated items of all values of *name*, in lower case."""
    return [item.strip().lower() for value in header.get(name, ()) for item in value.split(",")]


def add(header: Header, name: str, value: str) -> None:
    """Append *value* to those of *name*."""
    header.setdefault(name, []).append(value)


def elements(header: Header) -> list[http_pb2.Element]:
    """The wire's form. Raises `UnicodeEncodeError` if the client sent what is not UTF-8."""
    return [http_pb2.Element(key=key, values=values) for key, values in header.items()]


def update(header: Header, received: Iterable[Element]) -> None:
    """Set what a VM sent; of two elements with one key the last counts."""
    for element in received:
        header[element.key] = list(element.values)


def replace(header: Header, received: Iterable[Element]) -> None:
    """Drop everything for what a VM sent."""
    header.clear()
    update(header, received)


def to_lines(header: Header) -> list[Line]:
    """What goes out: names that are no token are dropped, line breaks in values become spaces."""
    return [
        (name, _UNSENDABLE.sub(b" ", value.encode("utf-8", "surrogateescape")).strip(b" \t"))
        for name, values in ((key.encode("utf-8", "replace"), values) for key, values in header.items())
        if _TOKEN.fullmatch(name)
        for value in values
    ]
