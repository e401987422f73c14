"""HTTP headers as Go keeps them: lists of values by canonical name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from vmsdk._pb.http import http_pb2

Header: TypeAlias = dict[str, list[str]]
"""Values by name. A client's names are canonical (`Content-Type`), a VM's as it spells them."""

Line: TypeAlias = tuple[bytes, bytes]
"""The name and value of one header line."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Go replaces line breaks, so that a value can't start a new header; HTTP libraries refuse the
# others.
_UNSENDABLE = re.compile(rb"[\x00\n\v\f\r]")


def canonical(name: str) -> str:
    """Spell *name* the way Go does: `content-type` becomes `Content-Type`."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def from_lines(lines: Iterable[Line]) -> Header:
    """Make the header map of a request. Bytes that are not UTF-8 become surrogates."""
    header: Header = {}
    for name, value in lines:
        key = canonical(name.decode("utf-8", "surrogateescape"))
        header.setdefault(key, []).append(value.decode("utf-8", "surrogateescape"))
    return header


def first(header: Header, name: str) -> str:
    """Return the first value of the canonical *name*, or an empty string."""
    values = header.get(name)
    return values[0] if values else ""


def elements(header: Header) -> list[http_pb2.Element]:
    """Encode *header* as protobuf. Raises `UnicodeEncodeError` if it isn't UTF-8."""
    return [http_pb2.Element(key=key, values=values) for key, values in header.items()]


def update(header: Header, received: Iterable[Any]) -> None:
    """Set what a VM sent as `http.Element` or `http.responsewriter.Header`; a key's last counts."""
    for element in received:
        header[element.key] = list(element.values)


def replace(header: Header, received: Iterable[Any]) -> None:
    """Replace all headers by those that a VM sent."""
    header.clear()
    update(header, received)


def to_lines(header: Header) -> list[Line]:
    """Encode *header* for HTTP. Invalid names are dropped, line breaks in values become spaces."""
    return [
        (name, _UNSENDABLE.sub(b" ", value.encode("utf-8", "surrogateescape")).strip(b" \t"))
        for name, values in ((key.encode("utf-8", "replace"), values) for key, values in header.items())
        if _TOKEN.fullmatch(name)
        for value in values
    ]
