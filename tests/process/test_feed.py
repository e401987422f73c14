"""The feed example as a user meets it: REST, a WebSocket, server-sent events and the OpenAPI page
of a real plugin.
"""

from __future__ import annotations

import json

import httpx
import pytest
import websockets
from websockets.sync.client import connect

from vmsdk.host.errors import CallFailed
from vmsdk.state import Event

from .feed import Feed
from .plugin import PATIENCE_S

VERSIONS = [39, 41, 45]  # HTTP is the same from 42 on


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_posted_is_fed_to_everyone_who_listens_and_can_be_read_where_openapi_says(
    version: int,
) -> None:
    with Feed(version) as feed:
        with connect(f"{feed.ws}/feed") as live, connect(f"{feed.ws}/feed?start=0") as from_genesis:
            first = json.loads(from_genesis.recv(PATIENCE_S))
            assert (first["height"], first["messages"]) == (0, [])
            heard = []
            for text in ("one", "caf\u00e9 \U0001f600"):
                feed.post(text)
                heard.append(json.loads(live.recv(PATIENCE_S)))
                assert json.loads(from_genesis.recv(PATIENCE_S)) == heard[-1]
        assert [(block["height"], block["messages"]) for block in heard] == [
            (1, ["one"]),
            (2, ["caf\u00e9 \U0001f600"]),
        ]
        assert httpx.get(f"{feed.url}/blocks/2").json() == heard[1]
        assert httpx.get(f"{feed.url}/blocks/last").json() == heard[1]
        openapi = httpx.get(f"{feed.url}/openapi.json").json()
        assert set(openapi["paths"]) == {"/messages", "/blocks/last", "/blocks/{height}", "/events"}
        assert openapi["servers"] == [{"url": feed.base}]
        page = httpx.get(f"{feed.url}/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert f"{feed.base}/openapi.json" in page.text
        assert feed.host.stop() == 0
    assert "Traceback" not in feed.lines.text


def test_a_message_stays_until_a_block_that_holds_it_is_accepted() -> None:
    with Feed(45, runs=False) as feed:
        chain = feed.host.chain
        feed.post("one")
        assert b"one" in chain.build_block().raw  # the node loses it
        for text in ("two", "two"):
            feed.post(text)
        assert chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
        assert chain.produce().height == 1
        assert httpx.get(f"{feed.url}/blocks/1").json()["messages"] == ["one", "two", "two"]
        with pytest.raises(CallFailed, match="nothing to build"):
            chain.build_block()


def test_server_sent_events_arrive_as_the_blocks_are_accepted() -> None:
    http2 = httpx.Client(http1=False, http2=True, timeout=PATIENCE_S)
    with Feed(45) as feed, http2, http2.stream("GET", f"{feed.url}/events?start=0") as response:
        lines = response.iter_lines()
        for height, texts in enumerate([[], ["one"], ["two"]]):
            for text in texts:
                feed.post(text)
            assert next(lines) == f"id: {height}"
            assert json.loads(next(lines).removeprefix("data: "))["messages"] == texts
            assert next(lines) == ""


def test_an_event_source_over_http1_gets_what_is_there_and_asks_again() -> None:
    with (
        Feed(45) as feed,
        httpx.Client(headers={"accept": "text/event-stream"}, timeout=PATIENCE_S) as client,
    ):
        feed.post("one")
        with connect(f"{feed.ws}/feed?start=1") as listener:
            listener.recv(PATIENCE_S)
        found: list[str] = []
        while len(found) < 2:  # A response may end between the two events.
            response = client.get(f"{feed.url}/events?start={len(found)}")
            found += [line for line in response.text.splitlines() if line.startswith("id")]
        assert found == ["id: 0", "id: 1"]
        feed.post("two")  # The app sends it to the response that has ended.
        with connect(f"{feed.ws}/feed?start=2") as listener:
            listener.recv(PATIENCE_S)
    # Starlette turns the end of the response into an exception of its own.
    assert "Traceback" not in feed.lines.text
    assert "ERROR" not in feed.lines.text


def test_what_makes_no_sense_is_answered_and_the_chain_goes_on() -> None:
    with Feed(45) as feed:
        for path in ("/blocks/7", "/nothing"):
            assert httpx.get(feed.url + path).status_code == 404
        for path in ("/blocks/-1", "/blocks/x", f"/blocks/{1 << 64}"):
            assert httpx.get(feed.url + path).status_code == 422
        texts = (b'""', b"7", b"NaN", b'"\\ud800"', b'"' + b"x" * 281 + b'"')
        for body in (b"", b"{", *(b'{"text": %b}' % text for text in texts)):
            headers = {"content-type": "application/json"}
            assert httpx.post(f"{feed.url}/messages", content=body, headers=headers).status_code == 422
        assert httpx.post(f"{feed.url}/messages", json={"text": "\u20ac" * 280}).status_code == 413
        with pytest.raises(websockets.InvalidStatus):
            connect(f"{feed.ws}/feed?start=-1").__enter__()
        feed.post("still here")
        with connect(f"{feed.ws}/feed?start=1") as listener:
            assert json.loads(listener.recv(PATIENCE_S))["messages"] == ["still here"]


def test_a_chain_that_stops_hangs_up_on_its_listeners_and_ends_in_time() -> None:
    with Feed(45) as feed, connect(f"{feed.ws}/feed") as listener:
        assert feed.host.stop() == 0
        with pytest.raises(websockets.ConnectionClosed) as caught:
            listener.recv(PATIENCE_S)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
    assert "Traceback" not in feed.lines.text
