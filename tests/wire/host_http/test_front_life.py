"""The front itself: clients that misbehave, limits, endpoints, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import http.client
import os
import socket
import threading
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.waiting import wait_until
from tests.wire.host_http.conftest import CHAIN, NODE, StartFront
from tests.wire.host_http.echo import echo_messages
from tests.wire.host_http.fakevm import FakeVM, respond
from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk.host.errors import HostError
from vmsdk.host.http import HTTPFront, endpoint
from vmsdk.host.http.connection import Deadline
from vmsdk.protocol import protocol

REQUEST = b"GET /ext/bc/fake HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The front waits for clients that still send, however busy the machine is."""
    monkeypatch.setattr("vmsdk.host.http.http1._LINGER_S", 60.0)


def exchange(front: HTTPFront, *parts: bytes) -> bytes:
    """All that the front sends to a client that sends *parts*."""
    host, port = front.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        for part in parts:
            sock.sendall(part)
        received = b""
        while data := sock.recv(65_536):
            received += data
        return received


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request"),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: 1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (2 << 20), b"431 Request Header Fields Too Large"),
    ],
    ids=lambda value: value[:40].decode(),
)
def test_a_broken_request_gets_a_status_and_the_end_of_its_connection(
    start_front: StartFront, request_: bytes, status: bytes
) -> None:
    assert exchange(start_front(), request_).startswith(b"HTTP/1.1 " + status + b"\r\n")


def test_requests_sent_at_once_get_responses_in_order(vm: FakeVM, start_front: StartFront) -> None:
    async def echo_url(request: Any, context: Any) -> Any:
        return await respond(200, request.url[-1].encode(), {})(request, context)

    vm.simple = echo_url
    pipelined = b"".join(REQUEST.replace(b"fake", b"fake?%d" % index) for index in range(3))
    last = REQUEST.replace(b"fake", b"fake?3").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    received = exchange(start_front(), pipelined + last)
    bodies = [part[:1] for part in received.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"0", b"1", b"2", b"3"]


def test_one_connection_serves_many_requests(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, b"x")
    connection = http.client.HTTPConnection(start_front().address)
    ports = set()
    for _ in range(5):
        connection.request("POST", "/ext/bc/fake", b"body")
        assert connection.getresponse().read() == b"x"
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_http_1_0_gets_its_response_and_the_end(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, b"old", {})
    received = exchange(start_front(), b"GET /ext/bc/fake HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert received.endswith(b"\r\n\r\nold")
    assert b"Transfer-Encoding" not in received


def test_a_body_that_nothing_reads_does_not_put_the_connection_out_of_step(
    vm: FakeVM, start_front: StartFront
) -> None:
    vm.simple = respond(200, b"x")
    connection = http.client.HTTPConnection(start_front().address)
    connection.request("POST", "/unknown", b"GET /ext/bc/fake HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.getresponse().read() == b"404 page not found\n"
    connection.request("GET", "/ext/bc/fake")
    assert connection.getresponse().read() == b"x"
    connection.close()
    assert len(vm.requests) == 1


def test_a_body_too_large_to_be_read_for_nothing_ends_the_connection_after_the_response(
    start_front: StartFront,
) -> None:
    head = b"POST /unknown HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
    received = exchange(start_front(), head + b"x" * 400_000)
    assert received.startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_a_body_cut_short_never_reaches_the_vm(vm: FakeVM, start_front: StartFront) -> None:
    accesses: list[tuple[str, str, int]] = []
    front = start_front(on_access=lambda *access: accesses.append(access))
    host, port = front.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"cut")
    wait_until(lambda: bool(accesses))
    assert not vm.requests


def test_a_client_that_stops_sending_still_gets_the_nodes_own_responses(start_front: StartFront) -> None:
    host, port = start_front().address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(REQUEST.replace(b"/ext/bc/fake", b"/no"))
        sock.shutdown(socket.SHUT_WR)
        assert sock.makefile("rb").read().startswith(b"HTTP/1.1 404")


def test_a_response_that_comes_too_late_is_not_sent(
    vm: FakeVM, start_front: StartFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = threading.Event()
    expire = Deadline._pass

    def watched(deadline: Deadline) -> None:
        expire(deadline)
        passed.set()

    async def slow(request: Any, context: Any) -> Any:
        assert await asyncio.to_thread(passed.wait, 60)
        return await respond(200, b"late")(request, context)

    monkeypatch.setattr(Deadline, "_pass", watched)
    vm.simple = slow
    assert exchange(start_front(write_timeout_s=0.05), REQUEST) == b""


def test_each_request_is_reported_to_the_access_callback(vm: FakeVM, start_front: StartFront) -> None:
    accesses: list[tuple[str, str, int]] = []
    front = start_front(on_access=lambda *access: accesses.append(access))
    vm.simple = respond(201, b"four")
    httpx.post(f"http://{front.address}/ext/bc/fake?q", content=b"x", trust_env=False)
    httpx.get(f"http://{front.address}/no", trust_env=False)
    wait_until(lambda: len(accesses) == 2)
    assert accesses == [("POST", "/ext/bc/fake?q", 201), ("GET", "/no", 404)]


def test_an_access_callback_that_raises_harms_no_request(
    vm: FakeVM, start_front: StartFront, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(method: str, target: str, status: int) -> None:
        raise RuntimeError("broken callback")

    vm.simple = respond(200, b"x")
    front = start_front(on_access=broken)
    assert httpx.get(f"http://{front.address}/ext/bc/fake", trust_env=False).text == "x"
    wait_until(lambda: "broken callback" in caplog.text)


def test_metrics_come_in_prometheus_text(start_front: StartFront) -> None:
    counter = metrics_pb2.MetricFamily(name="blocks", help="how\nmany", type=metrics_pb2.COUNTER)
    counter.metric.add(counter=metrics_pb2.Counter(value=3)).label.add(name="kind", value='a"b')
    histogram = metrics_pb2.MetricFamily(name="a_time", type=metrics_pb2.HISTOGRAM)
    inside = histogram.metric.add().histogram
    inside.sample_count, inside.sample_sum = 4, 2.5
    inside.bucket.add(upper_bound=0.5, cumulative_count=3)
    summary = metrics_pb2.MetricFamily(name="sizes", type=metrics_pb2.SUMMARY)
    inside_summary = summary.metric.add().summary
    inside_summary.sample_count, inside_summary.sample_sum = 2, 7
    inside_summary.quantile.add(quantile=0.5, value=float("nan"))
    gauge = metrics_pb2.MetricFamily(name="height", type=metrics_pb2.GAUGE)
    gauge.metric.add(gauge=metrics_pb2.Gauge(value=float("inf")))
    front = start_front(
        endpoints={"/ext/metrics": endpoint.metrics(lambda: [counter, histogram, summary, gauge])}
    )
    response = httpx.get(f"http://{front.address}/ext/metrics", trust_env=False)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.text == (
        "# TYPE a_time histogram\n"
        'a_time_bucket{le="0.5"} 3\n'
        'a_time_bucket{le="+Inf"} 4\n'
        "a_time_sum 2.5\n"
        "a_time_count 4\n"
        "# HELP blocks how\\nmany\n"
        "# TYPE blocks counter\n"
        'blocks{kind="a\\"b"} 3\n'
        "# TYPE height gauge\n"
        "height +Inf\n"
        "# TYPE sizes summary\n"
        'sizes{quantile="0.5"} NaN\n'
        "sizes_sum 7\n"
        "sizes_count 2\n"
    )


def test_a_gather_that_fails_breaks_the_metrics_visibly(start_front: StartFront) -> None:
    def broken() -> list[metrics_pb2.MetricFamily]:
        raise RuntimeError("Gather failed")

    front = start_front(endpoints={"/ext/metrics": endpoint.metrics(broken)})
    response = httpx.get(f"http://{front.address}/ext/metrics", trust_env=False)
    assert response.status_code == 500
    assert "Gather failed" in response.text


def test_a_port_in_use_is_named_with_the_fix(start_front: StartFront) -> None:
    taken = int(start_front().address.rpartition(":")[2])
    front = HTTPFront(protocol(45), NODE, port=taken)
    with pytest.raises(HostError, match=f"127.0.0.1:{taken}.*choose another port"):
        front.start()
    front.stop()


def test_a_front_starts_once_and_stops_any_number_of_times() -> None:
    front = HTTPFront(protocol(45), NODE)
    with pytest.raises(RuntimeError, match="before start"):
        _ = front.address
    front.stop()
    with front:
        with pytest.raises(RuntimeError, match="started already"):
            front.start()
        address = front.address
    front.stop()
    host, port = address.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_chains_may_come_and_go_before_the_start_and_after_the_end(vm: FakeVM) -> None:
    vm.simple = respond(200, b"x")
    front = HTTPFront(protocol(45), NODE)
    front.add_chain(CHAIN, [], {"": vm.address})
    front.remove_chain(CHAIN)
    front.add_chain(CHAIN, [], {"": vm.address})
    front.set_normal_op(CHAIN, True)
    with front:
        assert httpx.get(f"http://{front.address}/ext/bc/{CHAIN}", trust_env=False).text == "x"
    with pytest.raises(KeyError):
        front.remove_chain(CHAIN)


@pytest.mark.parametrize(
    ("http2", "headers"),
    [(False, {}), (False, {"Upgrade": "x", "Connection": "Upgrade"}), (True, {})],
    ids=["simple", "upgrade", "HTTP/2"],
)
def test_removing_the_chain_ends_the_requests_that_run_with_a_response(
    vm: FakeVM, start_front: StartFront, http2: bool, headers: dict[str, str]
) -> None:
    front = start_front()
    answered: list[httpx.Response] = []
    entered = threading.Event()

    async def hang(*_: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    def ask() -> None:
        with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=60) as client:
            answered.append(client.get(f"http://{front.address}/ext/bc/fake", headers=headers))

    vm.simple = vm.handle = hang
    asking = threading.Thread(target=ask)
    asking.start()
    assert entered.wait(60)
    front.remove_chain(CHAIN)
    asking.join()
    assert answered[0].status_code == 500
    assert answered[0].text == ("rpc error: code = Canceled desc = grpc: the client connection is closing\n")
    assert vm.cancelled.wait(60)


def test_stopping_cancels_what_runs_and_leaves_no_thread_or_descriptor(vm: FakeVM) -> None:
    entered = threading.Semaphore(0)

    async def hang(*_: Any) -> Any:
        entered.release()
        await asyncio.Event().wait()

    vm.simple = vm.handle = hang

    def round_trip() -> None:
        front = HTTPFront(protocol(45), NODE)
        front.start()
        front.add_chain(CHAIN, ["fake"], {"": vm.address})
        front.set_normal_op(CHAIN, True)
        host, port = front.address.split(":")
        clients = [socket.create_connection((host, int(port)), timeout=60) for _ in range(4)]
        for index, client in enumerate(clients):
            client.sendall(REQUEST if index % 2 else REQUEST.replace(b"\r\n\r\n", b"\r\nUpgrade: x\r\n\r\n"))
        for _ in clients:
            assert entered.acquire(timeout=60)
        vm.cancelled.clear()
        front.stop()
        assert vm.cancelled.wait(60)
        for client in clients:
            assert client.recv(1) == b""
            client.close()

    round_trip()
    gc.collect()
    threads, open_before = threading.active_count(), descriptors()
    for _ in range(3):
        round_trip()
    gc.collect()
    wait_until(lambda: threading.active_count() <= threads)
    wait_until(lambda: descriptors() <= open_before)


@pytest.fixture
def soaked(vm: FakeVM, start_front: StartFront) -> HTTPFront:
    return start_front()


def test_100_websockets_and_250_requests_cost_no_thread_and_leave_nothing(
    vm: FakeVM, soaked: HTTPFront
) -> None:
    vm.simple = respond(200, b"x")
    vm.handle = echo_messages
    httpx.get(f"http://{soaked.address}/ext/bc/fake", trust_env=False)
    threads, open_before = threading.active_count(), descriptors()

    async def soak() -> None:
        sockets = await asyncio.gather(
            *(connect(f"ws://{soaked.address}/ext/bc/fake", proxy=None, open_timeout=60) for _ in range(100))
        )
        assert soaked.hijacked(CHAIN) == 100
        assert threading.active_count() <= threads + 1
        async with httpx.AsyncClient(
            base_url=f"http://{soaked.address}", trust_env=False, timeout=60
        ) as client:
            for _ in range(5):
                responses = await asyncio.gather(*(client.get("/ext/bc/fake") for _ in range(50)))
                assert all(response.text == "x" for response in responses)
        for index, websocket in enumerate(sockets):
            await websocket.send(str(index))
            assert await websocket.recv() == str(index)
        await asyncio.gather(*(websocket.close() for websocket in sockets))

    asyncio.run(soak())
    wait_until(lambda: soaked.hijacked(CHAIN) == 0)
    wait_until(lambda: threading.active_count() <= threads)
    gc.collect()
    wait_until(lambda: descriptors() <= open_before + 2)


def test_a_vm_that_is_not_there_is_waited_for(vm: FakeVM, start_front: StartFront) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        front = start_front(handlers={"": address})
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"http://{front.address}/ext/bc/fake", trust_env=False, timeout=0.5)
