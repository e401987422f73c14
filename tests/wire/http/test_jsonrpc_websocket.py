"""`vmsdk.http.JSONRPC` on WebSockets of real clients, through the host's HTTP front."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import ClientConnection, connect

from tests.unit.chain.test_feed import Store
from tests.wire.http.conftest import Serve
from vmsdk.errors import NotFound
from vmsdk.http import JSONRPC, Connection, JSONRPCError, Subscription, Subscriptions, subpaths
from vmsdk.http import connection as connection_module

DEADLINE_S = 60.0
VERSIONS = [39, 41, 45]  # HTTP is the same from 42 on


class Plain:
    """A service of plain methods."""

    def __init__(self) -> None:
        self.called: list[Any] = []

    def add(self, a: int, b: int) -> int:
        return a + b

    def note(self, text: str) -> None:
        self.called.append(text)

    def who(self, name: str, connection: Connection, times: int = 1) -> list[Any]:
        return [name, connection.is_open, times]

    def count(self, connection: Connection) -> int:
        connection.state["count"] = connection.state.get("count", 0) + 1
        found: int = connection.state["count"]
        return found

    def maybe(self, connection: Connection | None) -> bool:
        return connection is not None

    def later(self, connection: Connection, *, method: str = "tick") -> None:
        threading.Thread(target=connection.notify, args=(method, [1])).start()

    def leave(self, connection: Connection) -> None:
        connection.close(4000, "as you wish")


class Asynchronous(Plain):
    """The same with an `async` method, which makes the service run on the event loop."""

    async def add(self, a: int, b: int) -> int:  # type: ignore[override]
        await asyncio.sleep(0)
        return a + b


def request(method: str, params: Any = (), call_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(DEADLINE_S))


def call(client: ClientConnection, method: str, *params: Any) -> Any:
    """The result of a call, or its error."""
    client.send(json.dumps(request(method, params)))
    response = receive(client)
    assert response["id"] == 1
    return response["result"] if "result" in response else response["error"]


def close_of(client: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which the server closes; what it sends before is dropped."""
    try:
        while True:
            client.recv(DEADLINE_S)
    except websockets.ConnectionClosed as error:
        return (error.rcvd.code, error.rcvd.reason) if error.rcvd is not None else (1006, "")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("service", [Plain, Asynchronous])
@pytest.mark.parametrize("prefix", ["/rpc", subpaths("/rpc")])
def test_calls_batches_and_notifications_get_the_responses_that_a_post_gets(
    serve: Serve, version: int, service: Any, prefix: str
) -> None:
    chain = service()
    served = serve({prefix: JSONRPC("chain", chain)}, version)
    with connect(f"{served.ws}/rpc") as client:
        assert call(client, "chain.add", 2, 3) == 5
        client.send(json.dumps(request("chain.add", {"a": 1, "b": 1}, "x")).encode())
        assert receive(client) == {"jsonrpc": "2.0", "id": "x", "result": 2}
        client.send('{"jsonrpc": "2.0", "method": "chain.note", "params": ["quietly"]}')
        client.send(json.dumps([request("chain.note", ["batched"], 1), request("nowhere", (), 2), 7]))
        batch = receive(client)
        assert [(each["id"], each.get("error", {}).get("code")) for each in batch] == [
            (1, None),
            (2, -32601),
            (None, -32600),
        ]
        for garbage, code in ((b"{", -32700), ("", -32700), (b"\xff", -32700), ("[]", -32600)):
            client.send(garbage)
            assert receive(client)["error"]["code"] == code
        assert call(client, "chain.maybe") is True
    assert sorted(chain.called) == ["batched", "quietly"]
    response = httpx.post(f"{served.url}/rpc", json=request("chain.add", [1, 2]))
    assert response.json()["result"] == 3


def test_a_method_knows_its_connection_wherever_the_parameter_is(serve: Serve) -> None:
    served = serve({"/rpc": JSONRPC("chain", Plain())})
    with connect(f"{served.ws}/rpc") as client, connect(f"{served.ws}/rpc") as other:
        assert call(client, "chain.who", "ada") == ["ada", True, 1]
        assert call(client, "chain.who", "ada", 3) == ["ada", True, 3]
        client.send(json.dumps(request("chain.who", {"name": "ada", "times": 2})))
        assert receive(client)["result"] == ["ada", True, 2]
        assert [call(client, "chain.count"), call(client, "chain.count"), call(other, "chain.count")] == [
            1,
            2,
            1,
        ]
        wrong = call(client, "chain.who", "ada", 3, 4)
        assert wrong["message"] == "invalid params: 3 are too many; chain.who takes name, times"
        client.send(json.dumps(request("chain.who", {"name": "ada", "connection": 1})))
        assert "unknown parameter 'connection'" in receive(client)["error"]["message"]
        client.send(json.dumps(request("chain.later")))
        both = [receive(client), receive(client)]  # A notification waits for no response.
        assert {"jsonrpc": "2.0", "method": "tick", "params": [1]} in both
        client.send(json.dumps(request("chain.leave")))
        assert close_of(client) == (4000, "as you wish")
        assert call(other, "chain.add", 1, 1) == 2


def test_a_method_that_needs_a_connection_is_not_available_by_post(serve: Serve) -> None:
    served = serve({"/rpc": JSONRPC("chain", Plain())})
    error = httpx.post(f"{served.url}/rpc", json=request("chain.count")).json()["error"]
    assert error == {"code": -32601, "message": "chain.count is not available by POST: use a WebSocket"}
    assert httpx.post(f"{served.url}/rpc", json=request("chain.maybe")).json()["result"] is False


# Subscriptions ------------------------------------------------------------------------------------


def eth(subscriptions: Subscriptions) -> JSONRPC:
    services = {
        "eth": Plain(),
        "eth_subscribe": subscriptions.subscribe,
        "eth_unsubscribe": subscriptions.unsubscribe,
    }
    return JSONRPC(services, separator="_")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscription_to_the_feed_is_what_ethereums_clients_expect(serve: Serve, version: int) -> None:
    store = Store(2)
    heads = Subscriptions({"newHeads": store.feed.subscription(lambda block: {"number": hex(block.height)})})
    served = serve({"/ws": eth(heads)}, version)
    with connect(f"{served.ws}/ws") as client, connect(f"{served.ws}/ws") as other:
        assert call(client, "eth_add", 1, 2) == 3
        live = call(client, "eth_subscribe", "newHeads")
        store.accept()
        assert receive(client) == {
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": {"subscription": live, "result": {"number": "0x2"}},
        }
        assert call(other, "eth_unsubscribe", live) is False
        assert call(client, "eth_unsubscribe", live) is True
        assert call(client, "eth_unsubscribe", live) is False
        store.accept()
        everything = call(client, "eth_subscribe", "newHeads", 0)
        assert everything != live
        for height in range(4):
            params = receive(client)["params"]
            assert params == {"subscription": everything, "result": {"number": hex(height)}}
        for params, complaint in (
            (["logs"], "unknown subscription 'logs'; there are: newHeads"),
            (["newHeads", "x"], "'start' must be an integer or null"),
            ([], "missing 'kind'"),
        ):
            assert complaint in call(client, "eth_subscribe", *params)["message"]
    error = httpx.post(f"{served.url}/ws", json=request("eth_subscribe", ["newHeads"])).json()["error"]
    assert error["code"] == -32601


def test_what_is_published_reaches_the_subscribers_of_that_kind_on_every_connection(serve: Serve) -> None:
    topics = Subscriptions({"pending": None, "syncing": None}, method="chain_event")
    served = serve({"/ws": eth(topics)})
    with connect(f"{served.ws}/ws") as one, connect(f"{served.ws}/ws") as two:
        ids = [call(one, "eth_subscribe", "pending"), call(two, "eth_subscribe", "pending", False)]
        call(two, "eth_subscribe", "syncing")
        topics.publish("pending", {"hash": "0x1"})
        for client, subscription in zip((one, two), ids, strict=True):
            assert receive(client) == {
                "jsonrpc": "2.0",
                "method": "chain_event",
                "params": {"subscription": subscription, "result": {"hash": "0x1"}},
            }
        assert call(one, "eth_unsubscribe", ids[0]) is True
        topics.publish("pending", 2)
        topics.publish("syncing", 3)
        assert [receive(two)["params"]["result"] for _ in range(2)] == [2, 3]
        assert call(one, "eth_add", 1, 1) == 2
        assert "takes no parameters" in call(one, "eth_subscribe", "pending", 1)["message"]
    with pytest.raises(
        ValueError, match="'blocks' is not a subscription without a source; those are: pending, syncing"
    ):
        topics.publish("blocks", 1)


def test_the_client_learns_the_id_of_a_subscription_before_its_first_notification(serve: Serve) -> None:
    class Eager:
        def push(self, connection: Connection) -> Subscription:
            subscription = connection.subscribe()
            for number in range(3):
                assert subscription.send(number)
            return subscription

        async def pull(self, connection: Connection) -> Subscription:
            async def source() -> AsyncIterator[int]:
                for number in range(3):
                    yield number

            return connection.subscribe(source())

    served = serve({"/ws": JSONRPC("eager", Eager())})
    with connect(f"{served.ws}/ws") as client:
        for _ in range(20):
            client.send(json.dumps([request("eager.push"), request("eager.pull")]))
            ids = [each["result"] for each in receive(client)]
            got = [receive(client)["params"] for _ in range(6)]
            for subscription in ids:
                results = [each["result"] for each in got if each["subscription"] == subscription]
                assert results == [0, 1, 2]
            client.send(json.dumps(request("eager.push")))
            assert receive(client)["id"] == 1
            assert [receive(client)["params"]["result"] for _ in range(3)] == [0, 1, 2]


def test_a_subscription_by_notification_is_dropped_since_nobody_could_end_it(serve: Serve) -> None:
    topics = Subscriptions({"pending": None})
    served = serve({"/ws": eth(topics)})
    with connect(f"{served.ws}/ws") as client:
        client.send('{"jsonrpc": "2.0", "method": "eth_subscribe", "params": ["pending"]}')
        assert call(client, "eth_add", 1, 1) == 2
        topics.publish("pending", 1)
        assert call(client, "eth_add", 1, 1) == 2


def test_a_source_that_fails_ends_the_connection_and_is_one_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    async def no_json() -> AsyncIterator[bytes]:
        yield b"raw"

    async def pruned(start: int) -> AsyncIterator[int]:
        if start < 100:
            raise NotFound(f"the block at height {start} is pruned")
        yield start

    served = serve({"/ws": eth(Subscriptions({"broken": broken, "noJSON": no_json, "pruned": pruned}))})
    for kind, params, reason in (
        ("broken", (), r"internal error: see fault [0-9a-f]{8} in the log of the chain"),
        ("noJSON", (), r"internal error: see fault [0-9a-f]{8} in the log of the chain"),
        ("pruned", (7,), "the block at height 7 is pruned"),
    ):
        with connect(f"{served.ws}/ws") as client:
            call(client, "eth_subscribe", kind, *params)
            code, text = close_of(client)
            assert code == 1011
            assert re.fullmatch(reason, text)
    assert len([record for record in caplog.records if record.exc_info]) == 2
    assert "the source of a subscription (eth_subscription)" in caplog.text


def test_a_source_that_is_a_coroutine_function_is_refused_with_the_cure() -> None:
    async def source() -> Any: ...

    with pytest.raises(TypeError, match="the source of 'logs' is a coroutine function: let it `yield`"):
        Subscriptions({"logs": source})  # type: ignore[dict-item]


def test_a_connection_has_a_limit_of_subscriptions(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_SUBSCRIPTIONS", 2)
    served = serve({"/ws": eth(Subscriptions({"pending": None}))})
    with connect(f"{served.ws}/ws") as client:
        first = call(client, "eth_subscribe", "pending")
        call(client, "eth_subscribe", "pending")
        assert "at most 2 subscriptions" in call(client, "eth_subscribe", "pending")["message"]
        call(client, "eth_unsubscribe", first)
        assert call(client, "eth_subscribe", "pending").startswith("0x")
        assert "code" in call(client, "eth_subscribe", "pending")


def test_a_source_that_ends_makes_room_for_another_subscription(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_SUBSCRIPTIONS", 1)

    async def one() -> AsyncIterator[int]:
        yield 1

    def finished(connection: Connection) -> bool:
        return not connection._subscriptions

    subscriptions = Subscriptions({"one": one})
    served = serve({"/ws": JSONRPC({"subscribe": subscriptions.subscribe, "finished": finished})})
    with connect(f"{served.ws}/ws") as client:
        for _ in range(3):
            assert call(client, "subscribe", "one").startswith("0x")
            assert receive(client)["params"]["result"] == 1
            while not call(client, "finished"):
                pass


# Limits -------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_is_closed_with_1013_and_the_publisher_never_waits(
    serve: Serve,
) -> None:
    topics = Subscriptions({"pending": None})
    served = serve({"/ws": eth(topics)})
    with (
        connect(f"{served.ws}/ws", max_queue=1, max_size=None, compression=None, ping_interval=None) as slow,
        connect(f"{served.ws}/ws") as fast,
    ):
        call(slow, "eth_subscribe", "pending")
        call(fast, "eth_subscribe", "pending")
        for number in range(100):
            topics.publish("pending", str(number) + "x" * 1_000_000)
            assert receive(fast)["params"]["result"].startswith(f"{number}x")
        code, reason = close_of(slow)
        assert (code, reason.partition(":")[0]) == (1013, "too many unread notifications")
        assert call(fast, "eth_add", 1, 1) == 2


class Waiting:
    """A method that runs until the test lets it go on."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.began = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)
        self.go_on = threading.Event()

    async def wait(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.release()
            raise

    async def gather(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.release()
        await asyncio.to_thread(self.go_on.wait)
        self.running -= 1

    async def ping(self) -> str:
        return "pong"


def test_requests_run_at_the_same_time_up_to_a_limit(serve: Serve) -> None:
    service = Waiting()
    served = serve({"/ws": JSONRPC("chain", service)})
    with connect(f"{served.ws}/ws") as client:
        client.send(json.dumps(request("chain.wait", (), 0)))
        assert call(client, "chain.ping") == "pong"
        assert service.began.acquire(timeout=DEADLINE_S)
        service.running = service.most = 0
        count = 3 * connection_module.MAX_RUNNING
        for number in range(count):
            client.send(json.dumps(request("chain.gather", (), number)))
        for _ in range(connection_module.MAX_RUNNING - 1):
            assert service.began.acquire(timeout=DEADLINE_S)
        service.go_on.set()
        assert sorted(receive(client)["id"] for _ in range(count)) == list(range(count))
        assert service.most == connection_module.MAX_RUNNING - 1


@pytest.mark.parametrize("limit", [{"MAX_WAITING": 3}, {"MAX_WAITING_BYTES": 400}])
def test_too_many_requests_that_wait_close_the_connection_with_1013(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    for name, value in limit.items():
        monkeypatch.setattr(connection_module, name, value)
    service = Waiting()
    served = serve({"/ws": JSONRPC("chain", service)})
    with connect(f"{served.ws}/ws") as client, connect(f"{served.ws}/ws") as other:
        for number in range(12):
            try:
                client.send(json.dumps(request("chain.wait", (), number)))
            except websockets.ConnectionClosed:
                break
        code, reason = close_of(client)
        assert (code, reason.rpartition(": ")[2][:10]) == (1013, "send fewer")
        assert call(other, "chain.ping") == "pong"
    assert service.cancelled.acquire(timeout=DEADLINE_S)


def test_a_request_that_is_too_large_is_refused_and_the_connection_lives(serve: Serve) -> None:
    served = serve({"/ws": JSONRPC("chain", Plain(), max_body_bytes=100)})
    with connect(f"{served.ws}/ws") as client:
        client.send("x" * 101)
        error = receive(client)["error"]
        assert error == {
            "code": -32600,
            "message": "invalid request: a request has at most 100 bytes, not 101",
        }
        assert call(client, "chain.add", 1, 1) == 2


# The end ------------------------------------------------------------------------------------------


def test_when_a_client_leaves_its_calls_and_its_sources_end(serve: Serve) -> None:
    ended = threading.Semaphore(0)
    service = Waiting()

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.release()

    subscriptions = Subscriptions({"numbers": source, "pending": None})
    services = {"chain": service, "subscribe": subscriptions.subscribe}
    served = serve({"/ws": JSONRPC(services)})
    for leave in ("close", "vanish"):
        with connect(f"{served.ws}/ws") as client:
            call(client, "subscribe", "pending")
            call(client, "subscribe", "numbers")
            assert receive(client)["params"]["result"] == 1
            client.send(json.dumps(request("chain.wait")))
            assert service.began.acquire(timeout=DEADLINE_S)
            if leave == "vanish":
                client.socket.close()
        assert ended.acquire(timeout=DEADLINE_S)
        assert service.cancelled.acquire(timeout=DEADLINE_S)
        subscriptions.publish("pending", 1)
    assert not subscriptions._published["pending"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("version", VERSIONS)
def test_when_the_chain_stops_clients_are_closed_with_1012(serve: Serve, version: int) -> None:
    store = Store(1)
    heads = Subscriptions({"newHeads": store.feed.subscription(lambda block: block.height)})
    service = Waiting()
    services = {"chain": service, "subscribe": heads.subscribe}
    served = serve({"/ws": JSONRPC(services)}, version)
    with connect(f"{served.ws}/ws") as client, connect(f"{served.ws}/ws") as idle:
        call(client, "subscribe", "newHeads")
        client.send(json.dumps(request("chain.wait")))
        assert service.began.acquire(timeout=DEADLINE_S)
        served.servers.close()
        assert close_of(client)[0] == 1012
        assert close_of(idle)[0] == 1012
    store.accept()


def test_idle_clients_cost_no_thread(serve: Serve) -> None:
    served = serve({"/ws": JSONRPC("chain", Plain())})

    async def open_all() -> int:
        clients = [await connect_async(f"{served.ws}/ws", open_timeout=DEADLINE_S) for _ in range(60)]
        count = threading.active_count()
        for client in clients:
            await client.close()
        return count

    before = threading.active_count()
    assert asyncio.run(open_all()) <= before + 20


# Other servers, and pages -------------------------------------------------------------------------


def test_pages_of_other_origins_are_refused_unless_they_are_listed(serve: Serve) -> None:
    def try_from(origin: str | None, **settings: Any) -> int:
        served = serve({"/ws": JSONRPC("chain", Plain(), **settings)})
        own = f"http://{served.front.address}" if origin == "own" else origin
        try:
            with connect(f"{served.ws}/ws", origin=own) as client:  # type: ignore[arg-type]
                assert call(client, "chain.add", 1, 1) == 2
                return 101
        except websockets.InvalidStatus as error:
            return error.response.status_code if b"JSONRPC(origins=...)" in error.response.body else -1

    page = "https://example.org"
    assert (try_from(None), try_from("own")) == (101, 101)
    assert (try_from(page), try_from("null")) == (403, 403)
    assert try_from("https://Example.org", origins=[page]) == 101
    assert try_from("https://example.org.evil.com", origins=[page]) == 403
    assert try_from("null", origins=["*"]) == 101
    with pytest.raises(TypeError, match=r"pass a list, such as \['https://example.org'\]"):
        JSONRPC("chain", Plain(), origins=page)


def test_it_needs_nothing_that_only_vmsdks_server_has() -> None:
    topics = Subscriptions({"pending": None})
    app = eth(topics)

    async def talk() -> list[Any]:
        to_app: asyncio.Queue[Any] = asyncio.Queue()
        from_app: asyncio.Queue[Any] = asyncio.Queue()
        await to_app.put({"type": "websocket.connect"})
        serving = asyncio.create_task(app({"type": "websocket", "headers": []}, to_app.get, from_app.put))
        got = [await from_app.get()]
        await to_app.put(
            {"type": "websocket.receive", "text": json.dumps(request("eth_subscribe", ["pending"]))}
        )
        got.append(await from_app.get())
        topics.publish("pending", 7)
        got.append(await from_app.get())
        await to_app.put({"type": "websocket.receive", "text": json.dumps(request("eth_leave"))})
        got.append(await from_app.get())
        await to_app.put({"type": "websocket.disconnect", "code": 1000})
        await serving
        return got

    accepted, _, notification, closed = asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))
    assert accepted == {"type": "websocket.accept"}
    assert json.loads(notification["text"])["params"]["result"] == 7
    assert closed == {"type": "websocket.close", "code": 4000, "reason": "as you wish"}


def test_a_connection_that_the_annotation_hides_is_an_error_with_the_cure() -> None:
    namespace: dict[str, Any] = {}
    code = "def f(connection: 'Connection') -> None: ..."
    exec(code, namespace)
    with pytest.raises(TypeError, match="import its names at run time, not under TYPE_CHECKING"):
        JSONRPC({"f": namespace["f"]})


def test_errors_of_the_author_reach_the_client(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(connection: Connection) -> None:
        raise JSONRPCError(42, "not today")

    served = serve({"/ws": JSONRPC({"refuse": refuse})})
    with connect(f"{served.ws}/ws") as client:
        assert call(client, "refuse") == {"code": 42, "message": "not today"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
