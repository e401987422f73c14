"""What comes over HTTP: anything at all is read in linear time, and refused in a few words, without
a traceback.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.decoders import (
    DECODERS,
    UPGRADE,
    address,
    call,
    frames,
    handshake,
    json_rpc,
    request,
    target,
)

# What is slow for a careless reader, of about so many bytes.
SHAPES: dict[str, tuple[Callable[[Any], object], Callable[[int], Any]]] = {
    "json: arrays": (json_rpc, lambda n: b"[" * n),
    "json: closed arrays": (json_rpc, lambda n: b"[" * (n // 2) + b"]" * (n // 2)),
    "json: objects": (json_rpc, lambda n: b'{"a":' * (n // 5)),
    "json: digits": (json_rpc, lambda n: b"1" * n),
    "json: digits after the point": (json_rpc, lambda n: b"0." + b"1" * n),
    "json: digits of the exponent": (json_rpc, lambda n: b"1e" + b"1" * n),
    "json: spaces": (json_rpc, lambda n: b" " * n),
    "json: escapes": (json_rpc, lambda n: b'"' + b"\\u0001" * (n // 6) + b'"'),
    "json: not UTF-8": (json_rpc, lambda n: b"\xff" * n),
    "json: a batch": (json_rpc, lambda n: b"[" + b"1," * (n // 2) + b"1]"),
    "json: a long method": (json_rpc, lambda n: call("\0" * (n // 6), [])),
    "json: a long id": (json_rpc, lambda n: call("chain.anything", [], "x" * n)),
    "json: a long ID": (json_rpc, lambda n: call("chain.block", ["2" * n])),
    "json: a long name": (json_rpc, lambda n: call("chain.block", {"\0" * (n // 6): 1})),
    "json: many names": (json_rpc, lambda n: call("chain.anything", {f"_{i}": 1 for i in range(n // 12)})),
    "json: many parameters": (json_rpc, lambda n: call("chain.anything", [1] * (n // 3))),
    "target: slashes": (target, lambda n: "/" * n),
    "target: a chain": (target, lambda n: "/ext/bc/" + "x" * n),
    "target: escapes": (target, lambda n: "/" + "%41" * (n // 3)),
    "target: percents": (target, lambda n: "/" + "%" * n),
    "target: a scheme": (target, lambda n: "a" * n),
    "target: a host": (target, lambda n: "http://" + "a" * n),
    "target: questions": (target, lambda n: "/" + "?" * n),
    "headers: one name": (request, lambda n: [("X", "y")] * (n // 4)),
    "headers: cookies": (request, lambda n: [("Cookie", "y")] * (n // 10)),
    "headers: many names": (request, lambda n: [(f"X-{i}", "y") for i in range(n // 10)]),
    "headers: a long name": (request, lambda n: [("x-" * (n // 2), "y")]),
    "headers: a long value": (request, lambda n: [("Upgrade", " " * n)]),
    "websocket: protocols": (handshake, lambda n: [*UPGRADE, ("Sec-WebSocket-Protocol", "a," * (n // 2))]),
    "websocket: commas": (handshake, lambda n: [*UPGRADE, ("Sec-WebSocket-Extensions", "," * n)]),
    "websocket: parameters": (handshake, lambda n: [*UPGRADE, ("Sec-WebSocket-Extensions", ";" * n)]),
    "websocket: a long key": (handshake, lambda n: [*UPGRADE[:3], ("Sec-WebSocket-Key", "A" * n)]),
    "address: digits": (address, lambda n: "node:" + "1" * n),
    "address: colons": (address, lambda n: ":" * n),
    "identifiers: a long ID": (DECODERS["identifiers"], lambda n: b"NodeID-" + b"2" * n),
    "identifiers: ones": (DECODERS["identifiers"], lambda n: b"1" * n),
    "codec: empty maps": (DECODERS["codec"], lambda n: bytes(8) + n.to_bytes(4, "big") + bytes(4 * n)),
    "warp: a long payload": (DECODERS["warp"], lambda n: bytes(38) + n.to_bytes(4, "big") + bytes(n)),
    "peers: empty items": (DECODERS["peers"], lambda n: b"\x0a\0" * (n // 2)),
    "bloom: entries": (DECODERS["bloom"], lambda n: b"\1" + bytes(n)),
    "blocks: transactions": (
        DECODERS["blocks"],
        lambda n: bytes(91) + (n // 4).to_bytes(4, "big") + bytes(n),
    ),
    "messages: nested": (DECODERS["messages"], lambda n: b"\x0a\0" * (n // 2)),
}

SMALL, TIMES = 40_000, 8
# A quadratic reader takes 64 times as long for 8 times as much.
MOST = 4 * TIMES


def cpu_s(read: Callable[[Any], object], data: Any, enough_s: float = float("inf")) -> float:
    """The least of a few measurements, in seconds of this thread alone.

    There are more until it is less than *enough_s*: what else runs on the machine can only add to
    one of them.
    """
    best = float("inf")
    for number in range(20):
        begun = time.thread_time()
        read(data)
        best = min(best, time.thread_time() - begun)
        if number >= 2 and best < enough_s:
            break
    return best


@pytest.mark.parametrize("shape", SHAPES)
def test_time_grows_no_faster_than_what_a_client_sends(shape: str) -> None:
    read, make = SHAPES[shape]
    # The least that a clock can tell, so that what takes no time at all compares.
    tick_s = 1e-4
    small_s = max(cpu_s(read, make(SMALL)), tick_s)
    assert cpu_s(read, make(SMALL * TIMES), MOST * small_s) < MOST * small_s


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.startswith("json")])
def test_a_response_is_no_longer_than_a_few_times_the_request(shape: str) -> None:
    body = SHAPES[shape][1](SMALL)
    assert len(json_rpc(body)) <= 6 * len(body) + 1_000


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
METHODS = st.sampled_from(["chain.block", "chain.number", "chain.anything"]) | st.text()


@given(st.binary() | st.text().map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_gets_a_response_of_json_rpc(body: bytes) -> None:
    response = json_rpc(body)
    assert len(response) <= 200 * len(body) + 1_000
    if response:
        json.loads(response)


@given(METHODS, VALUES, VALUES)
def test_any_call_gets_a_response_with_its_id(method: str, params: Any, call_id: Any) -> None:
    response = json.loads(json_rpc(call(method, params, call_id)))
    assert response["jsonrpc"] == "2.0"
    assert ("result" in response) != ("error" in response)
    if isinstance(call_id, str):
        assert response["id"] == call_id


@given(st.text() | st.text().map("/".__add__) | st.text("/%41?#.:xX[]@", max_size=50))
def test_any_target_is_read_or_refused(text: str) -> None:
    target(text)


WIRE_TEXT = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.tuples(WIRE_TEXT, WIRE_TEXT)))
def test_any_headers_reach_an_app(pairs: list[tuple[str, str]]) -> None:
    request(pairs)
    handshake([*UPGRADE, *pairs])
    handshake(pairs)


@given(WIRE_TEXT, WIRE_TEXT)
def test_any_offer_of_a_websocket_is_taken_or_refused(protocols: str, extensions: str) -> None:
    offer = [("Sec-WebSocket-Protocol", protocols), ("Sec-WebSocket-Extensions", extensions)]
    handshake([*UPGRADE, *offer])


@given(st.binary(max_size=4096))
def test_any_bytes_are_frames_or_end_the_websocket(data: bytes) -> None:
    frames(data)


@given(WIRE_TEXT)
def test_any_text_is_an_address_or_none(text: str) -> None:
    address(text)
