"""HandleSimple: what the VM gets of a plain HTTP/1 request, and the client of its response."""

from __future__ import annotations

import asyncio
import http.client
import threading
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2, struct_pb2
from google.protobuf.message import Message

from tests.wire.host_http.conftest import CHAIN, NODE, StartFront
from tests.wire.host_http.fakevm import FakeVM, as_dict, respond
from vmsdk._pb.http import http_pb2

DETAILS = "grpc-status-details-bin"


def get(front: Any, path: str = "/ext/bc/fake", **options: Any) -> httpx.Response:
    return httpx.get(f"http://{front.address}{path}", trust_env=False, **options)


def rpc_status(code: int, message: str, *details: Message) -> bytes:
    """The serialized `google.rpc.Status`: 1 code, 2 message, 3 details."""
    encoded = b"\x08" + varint(code) + b"\x12" + varint(len(message)) + message.encode()
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        encoded += b"\x1a" + varint(packed.ByteSize()) + packed.SerializeToString()
    return encoded


def varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def fail(message: str, details: bytes | None = None, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> Any:
    async def simple(request: http_pb2.HandleSimpleHTTPRequest, context: Any) -> None:
        if details is not None:
            context.set_trailing_metadata(((DETAILS, details),))
        await context.abort(code, message)

    return simple


@pytest.mark.parametrize("version", [35, 39, 40, 41, 42, 45, 46])
@pytest.mark.parametrize("code", [200, 404, 500])
def test_edge_84_an_ok_response_reaches_the_client_with_its_code_headers_and_body(
    vm: FakeVM, start_front: StartFront, version: int, code: int
) -> None:
    vm.simple = respond(code, b"some body", {"X-Own": ["one", "two"], "Content-Type": ["text/x-own"]})
    response = get(start_front(version))
    assert response.status_code == code
    assert response.headers.get_list("X-Own") == ["one", "two"]
    assert response.headers["Content-Type"] == "text/x-own"
    assert response.headers["Content-Length"] == "9"
    assert response.content == b"some body"


def test_edge_85_an_error_with_the_response_as_its_only_detail_is_that_response(
    vm: FakeVM, start_front: StartFront
) -> None:
    own = http_pb2.HandleSimpleHTTPResponse(code=500, body=b"as a Go VM says it")
    own.headers.add(key="X-Own", values=["kept"])
    vm.simple = fail("as a Go VM says it", rpc_status(500, "as a Go VM says it", own))
    response = get(start_front())
    assert (response.status_code, response.text) == (500, "as a Go VM says it")
    assert response.headers["X-Own"] == "kept"


def test_edge_85_such_a_response_may_be_as_large_as_a_go_client_takes_trailers(
    vm: FakeVM, start_front: StartFront
) -> None:
    body = b"x" * 100_000
    own = http_pb2.HandleSimpleHTTPResponse(code=500, body=body)
    vm.simple = fail("large", rpc_status(500, "large", own))
    assert get(start_front()).content == body


@pytest.mark.parametrize(
    "details",
    [
        None,
        rpc_status(500, "boom"),
        rpc_status(500, "boom", struct_pb2.Value(string_value="another type")),
        rpc_status(500, "boom", *[http_pb2.HandleSimpleHTTPResponse(code=201)] * 2),
        b"\x18\x05",
        b"\xff\xff\xff garbage",
    ],
    ids=["none", "empty", "foreign", "two", "number", "garbage"],
)
def test_edge_85_any_other_error_is_status_500_with_its_text(
    vm: FakeVM, start_front: StartFront, details: bytes | None
) -> None:
    vm.simple = fail("boom", details)
    response = get(start_front())
    assert (response.status_code, response.text) == (500, "rpc error: code = Unknown desc = boom\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Node-Id"] == str(NODE)


def test_an_errors_text_names_its_code_as_go_does(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = fail("too much", code=grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert get(start_front()).text == "rpc error: code = ResourceExhausted desc = too much\n"


@pytest.mark.parametrize("code", [0, 700, 99, -1])
def test_edge_86_a_code_that_is_not_a_status_becomes_500(
    vm: FakeVM, start_front: StartFront, code: int
) -> None:
    vm.simple = respond(code, b"body stays")
    response = get(start_front())
    assert (response.status_code, response.text) == (500, "body stays")


@pytest.mark.parametrize("version", [42, 43, 45])
def test_edge_87_the_nodes_headers_go_to_the_vm_and_return_only_by_it(
    vm: FakeVM, start_front: StartFront, version: int
) -> None:
    front = start_front(version)
    vm.simple = respond(200)
    echoed = get(front, headers={"Origin": "http://page"})
    assert as_dict(vm.requests[0].response_headers) == {
        "Node-Id": [str(NODE)],
        "Vary": ["Origin"],
        "Access-Control-Allow-Origin": ["*"],
        "Access-Control-Allow-Credentials": ["true"],
    }
    assert (echoed.headers["Node-Id"], echoed.headers["Vary"]) == (str(NODE), "Origin")
    vm.simple = respond(200, headers={})
    assert "Node-Id" not in get(front).headers


@pytest.mark.parametrize("version", [40, 41])
def test_protocols_40_and_41_lose_the_nodes_headers_unasked(
    vm: FakeVM, start_front: StartFront, version: int
) -> None:
    vm.simple = respond(200, headers={"X-Own": ["1"]})
    response = get(start_front(version))
    assert "Node-Id" not in response.headers
    assert not vm.requests[0].response_headers


def test_protocols_until_39_merge_the_vms_headers_over_the_nodes(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, headers={"X-Own": ["1"], "Vary": ["Accept"]})
    response = get(start_front(39))
    assert response.headers["Node-Id"] == str(NODE)
    assert response.headers.get_list("Vary") == ["Accept"]
    assert not vm.requests[0].response_headers


def test_the_vm_gets_the_raw_target_the_method_the_body_and_canonical_headers(
    vm: FakeVM, start_front: StartFront
) -> None:
    vm.simple = respond(200)
    front = start_front()
    connection = http.client.HTTPConnection(front.address)
    connection.putrequest("PATCH", "/ext/bc/fake?q=a%20b&q=2")
    for name, value in [("x-CUSTOM-name", "1"), ("X-Custom-Name", "2"), ("content-length", "4")]:
        connection.putheader(name, value)
    connection.endheaders(b"\x00\xffab")
    assert connection.getresponse().status == 200
    connection.close()
    request = vm.requests[0]
    assert (request.method, request.url, request.body) == ("PATCH", "/ext/bc/fake?q=a%20b&q=2", b"\x00\xffab")
    assert as_dict(request.request_headers) == {
        "X-Custom-Name": ["1", "2"],
        "Content-Length": ["4"],
        "Accept-Encoding": ["identity"],
    }


def test_headers_in_utf8_pass_both_ways(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, headers={"X-Name": ["Zürich ✓"]})
    response = get(start_front(), headers={"X-Name": "Zürich ✓".encode()})
    assert as_dict(vm.requests[0].request_headers)["X-Name"] == ["Zürich ✓"]
    assert dict(response.headers.raw)[b"X-Name"] == "Zürich ✓".encode()


def test_a_header_that_is_not_utf8_can_not_be_sent_to_the_vm(vm: FakeVM, start_front: StartFront) -> None:
    response = get(start_front(), headers={"X-Name": b"Z\xfcrich"})
    assert response.status_code == 500
    assert "string field contains invalid UTF-8" in response.text
    assert not vm.requests


def test_line_breaks_in_a_vms_header_can_not_start_another(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, headers={"X-Own": ["a\r\nX-Injected: 1\n\nbody"], "No Token": ["dropped"]})
    response = get(start_front())
    assert response.headers["X-Own"] == "a  X-Injected: 1  body"
    assert "X-Injected" not in response.headers
    assert "No Token" not in response.headers


def test_head_gets_the_length_of_the_body_that_it_does_not_get(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200, b"x" * 5000)
    front = start_front()
    with httpx.Client(base_url=f"http://{front.address}", trust_env=False) as client:
        head = client.head("/ext/bc/fake")
        assert (head.headers["Content-Length"], head.content) == ("5000", b"")
        assert client.get("/ext/bc/fake").content == b"x" * 5000  # the connection is in step


@pytest.mark.parametrize("code", [204, 304])
def test_statuses_without_body_drop_the_vms(vm: FakeVM, start_front: StartFront, code: int) -> None:
    vm.simple = respond(code, b"must not be sent")
    front = start_front()
    with httpx.Client(base_url=f"http://{front.address}", trust_env=False) as client:
        for _ in range(2):
            response = client.get("/ext/bc/fake")
            assert (response.status_code, response.content) == (code, b"")
            assert "Content-Length" not in response.headers


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"plain words", "text/plain; charset=utf-8"),
        (b"  <html><body>", "text/html; charset=utf-8"),
        (b"\x00\x01\x02", "application/octet-stream"),
    ],
)
def test_a_body_without_content_type_gets_the_one_that_go_guesses(
    vm: FakeVM, start_front: StartFront, body: bytes, media_type: str
) -> None:
    vm.simple = respond(200, body)
    assert get(start_front()).headers["Content-Type"] == media_type


def test_a_body_of_8_mib_passes_both_ways(vm: FakeVM, start_front: StartFront) -> None:
    async def echo(request: http_pb2.HandleSimpleHTTPRequest, context: Any) -> Any:
        return http_pb2.HandleSimpleHTTPResponse(code=200, body=request.body)

    vm.simple = echo
    body = bytes(range(256)) * (8 << 12)
    front = start_front()
    response = httpx.post(f"http://{front.address}/ext/bc/fake", content=body, trust_env=False)
    assert response.content == body


def test_a_chunked_body_arrives_whole(vm: FakeVM, start_front: StartFront) -> None:
    vm.simple = respond(200)
    front = start_front()
    parts = iter([b"one ", b"two ", b"three"])
    httpx.post(f"http://{front.address}/ext/bc/fake", content=parts, trust_env=False)
    assert vm.requests[0].body == b"one two three"
    assert "Transfer-Encoding" not in as_dict(vm.requests[0].request_headers)


def test_a_vm_that_declares_more_than_it_sends_costs_the_client_its_connection(
    vm: FakeVM, start_front: StartFront
) -> None:
    vm.simple = respond(200, b"short", {"Content-Length": ["100"]})
    with pytest.raises(httpx.RemoteProtocolError):
        get(start_front())


def test_a_client_that_hangs_up_cancels_the_call(vm: FakeVM, start_front: StartFront) -> None:
    entered = threading.Event()

    async def hang(request: Any, context: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    vm.simple = hang
    connection = http.client.HTTPConnection(start_front().address)
    connection.request("GET", f"/ext/bc/{CHAIN}")
    assert entered.wait(60)
    assert not vm.cancelled.is_set()
    connection.close()
    assert vm.cancelled.wait(60)
