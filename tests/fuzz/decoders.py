"""Every decoder of what strangers send. Each takes any bytes, and refuses bad ones in a few words.

A decoder raises nothing for bad input: its own errors are caught here, any other is a defect.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from google.protobuf.message import DecodeError
from wsproto import WSConnection
from wsproto.events import AcceptConnection
from wsproto.utilities import RemoteProtocolError

from vmsdk import bls, chain, warp
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.sdk import sdk_pb2
from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.chain.encoding import U64, U128, Max
from vmsdk.chain.transactions import Transaction, parser
from vmsdk.codec import Reader
from vmsdk.context import Context
from vmsdk.errors import AppError, InvalidBlock, InvalidInput, InvalidPublicKey
from vmsdk.host.http.endpoint import EndpointRequest
from vmsdk.host.http.jsonrpc import service
from vmsdk.http import JSONRPC
from vmsdk.http.mount import Mount, prefix_of, subpaths
from vmsdk.http.wsgi import environ_of
from vmsdk.ids import ID, NodeID
from vmsdk.p2p.bloom import Filter
from vmsdk.p2p.network import read_prefix
from vmsdk.rpc.conversion import InvalidRequest
from vmsdk.rpc.http import headers, websocket
from vmsdk.rpc.http.response import Refusal
from vmsdk.rpc.http.service import _address, is_websocket
from vmsdk.rpc.http.target import InvalidTarget, parse
from vmsdk.rpc.initialize import Identity
from vmsdk.timestamp import Timestamp

# Bytes from a fuzzer may ask this chain, but nothing that it says is signed.
SIGNATURES = warp.SignatureHandler(Context(), lambda message, justification: refuse())
EXAMPLES = Path(__file__).parents[2] / "examples"
MAX_ERROR_CHARACTERS = 2_000


def refuse(*_: object) -> None:
    raise AppError(43, "refused")


def brief(error: Exception) -> None:
    """An error may quote what was sent, but not all of it."""
    assert len(str(error)) < MAX_ERROR_CHARACTERS


# HTTP ------------------------------------------------------------------------------------------


class Service:
    """A method for each kind of parameter."""

    def block(self, block_id: ID) -> str:
        return str(block_id)

    def node(self, node_id: NodeID) -> str:
        return str(node_id)

    def number(self, value: float) -> float:
        return value

    def anything(self, *args: Any, **named: Any) -> int:
        return len(args) + len(named)

    def text(self, text: str) -> str:
        return text.encode().hex()

    def inside(
        self, numbers: list[int], by_name: dict[str, ID], mode: Literal["fast", 1], data: bytes = b""
    ) -> int:
        return sum(numbers) + sum(map(len, by_name.values())) + len(data) + (mode == 1)


SERVICE = JSONRPC("chain", Service())


def no_report(what: str, error: BaseException, consequence: str) -> NoReturn:
    raise AssertionError(f"{what} was reported") from error


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def json_rpc(body: bytes) -> bytes:
    """The response to *body*, without an event loop."""
    work = SERVICE.handle(body, at_once, no_report)
    try:
        work.send(None)
    except StopIteration as end:
        return end.value or b""
    raise AssertionError("waited for something")


OWN_SERVICE = service("info", {"peers": lambda params: params})


def own_service(body: bytes) -> None:
    """A node's own service, as `vmsdk dev` plays it."""
    json.loads(
        OWN_SERVICE(EndpointRequest("POST", "application/json", "", body)).body or "null",
        parse_constant=refuse,
    )


def target(text: str) -> None:
    try:
        found = parse(text)
    except InvalidTarget as error:
        brief(error)
        return
    Mount(subpaths("/api")).root_path(found.path)
    prefix_of(found.path)


def received(pairs: list[tuple[str, str]]) -> headers.RawHeaders:
    values: dict[str, list[str]] = {}
    for key, value in pairs:  # Go's http.Header holds each key once
        values.setdefault(key, []).append(value)
    wire = [http_pb2.Element(key=key, values=each) for key, each in values.items()]
    headers.to_map(wire)
    return headers.to_asgi(wire)


def request(pairs: list[tuple[str, str]]) -> None:
    """Headers on their way to an app of any kind."""
    found = received(pairs)
    is_websocket(http_pb2.Request(proto_major=1), found)
    scope = {"method": "GET", "path": "/", "query_string": b"", "http_version": "1.1", "headers": found}
    environ_of(scope, io.BytesIO())


def handshake(pairs: list[tuple[str, str]]) -> None:
    try:
        connection, _ = websocket.begin(received(pairs))
    except Refusal as error:
        brief(error)
    else:
        connection.send(AcceptConnection(extensions=[websocket.Deflate()]))


def address(text: str) -> None:
    _address(text, 80)


def frames(data: bytes) -> None:
    for offer in ([], [("Sec-WebSocket-Extensions", "permessage-deflate")]):
        connection, _ = websocket.begin(received([*UPGRADE, *offer]))
        connection.send(AcceptConnection(extensions=[websocket.Deflate()]))
        read_frames(connection, data)


def read_frames(connection: WSConnection, data: bytes) -> None:
    try:
        connection.receive_data(data)
        for _ in connection.events():
            pass
    except RemoteProtocolError:
        pass


def _text(data: bytes) -> str:
    # What protobuf carries is valid UTF-8.
    return data.decode(errors="ignore")


def _pairs(data: bytes) -> list[tuple[str, str]]:
    lines = (line.partition(": ") for line in _text(data).split("\n"))
    return [(name, value) for name, colon, value in lines if name and colon]


# Identifiers and the codec ---------------------------------------------------------------------


def identifiers(data: bytes) -> None:
    for read in (ID.from_string, NodeID.from_string):
        try:
            read(_text(data))
        except InvalidInput as error:
            brief(error)


def _record(reader: Reader) -> None:
    reader.version(0)
    reader.type_id(0, 1)
    reader.string()
    reader.sequence(lambda inner: inner.mapping(Reader.u16, Reader.blob))
    reader.array(2, lambda inner: inner.sequence(Reader.boolean))
    reader.end()


def codec(data: bytes) -> None:
    try:
        _record(Reader(data))
    except InvalidInput as error:
        brief(error)


def warp_messages(data: bytes) -> None:
    for read in (warp.UnsignedMessage.decode, warp.decode_payload):
        try:
            read(data)
        except InvalidInput as error:
            brief(error)
    try:
        signature = warp.Message.decode(data).signature
        assert len(signature.indices) <= signature.bit_length
    except InvalidInput as error:
        brief(error)


def signature_requests(data: bytes) -> None:
    try:
        SIGNATURES.app_request(NodeID.EMPTY, Timestamp(0), data)
    except AppError as error:
        brief(error)
    else:
        raise AssertionError("signed")


def public_keys(data: bytes) -> None:
    try:
        bls.validate_public_key(data)
    except InvalidPublicKey as error:
        brief(error)


# Peers -----------------------------------------------------------------------------------------


def peer_messages(data: bytes) -> None:
    read_prefix(data)
    for kind in (sdk_pb2.PullGossipRequest, sdk_pb2.PullGossipResponse, sdk_pb2.PushGossip):
        try:
            message = kind.FromString(data)
        except DecodeError:
            continue
        if isinstance(message, sdk_pb2.PullGossipRequest):
            bloom(message.filter)


def bloom(data: bytes) -> None:
    try:
        found = Filter.from_bytes(data)
    except InvalidInput as error:
        brief(error)
    else:
        assert bytes(found) == data
        assert isinstance(1 << 63 in found, bool)


class Transfer(Transaction):
    tag = 1
    to: Annotated[bytes, Max(20)]
    amount: U64
    memo: Annotated[str, Max(100)]


class Mint(Transaction):
    tag = 2
    amounts: Annotated[tuple[U128, ...], Max(50)]
    bonus: U64 | None
    flag: bool


_PARSE = parser(Transfer | Mint)


def transactions(data: bytes) -> None:
    try:
        found = _PARSE(data)
    except chain.Invalid as error:
        brief(error)
    else:
        assert found.raw == data


# Blocks ----------------------------------------------------------------------------------------


def _examples() -> list[Any]:
    timestamp = runpy.run_path(str(EXAMPLES / "timestamp" / "timestampvm.py"))
    sys.path.insert(0, str(EXAMPLES / "feed"))
    try:
        feed = runpy.run_path(str(EXAMPLES / "feed" / "feedvm.py"))
    finally:
        sys.path.pop(0)
    return [timestamp["TimestampVM"](), feed["FeedVM"]()]


_EXAMPLES = _examples()


def blocks(data: bytes) -> None:
    for vm in _EXAMPLES:
        try:
            block = vm.parse_block(data)
            # As in the response to ParseBlock.
            Timestamp.of(block.timestamp)
        except (InvalidBlock, InvalidInput) as error:
            brief(error)
        else:
            assert block.raw == data
    try:
        found = chain.Block.from_bytes(data)
    except InvalidBlock as error:
        brief(error)
    else:
        assert found.raw == data


# gRPC ------------------------------------------------------------------------------------------

_MESSAGES = [method.request for service in (VM, HTTP) for method in service.methods.values()]


def messages(data: bytes) -> None:
    for kind in _MESSAGES:
        try:
            message: Any = kind.FromString(data)
        except DecodeError:
            continue
        if isinstance(message, vm_pb2.InitializeRequest):
            try:
                Identity(message, has_upgrades=True)
            except InvalidRequest as error:
                brief(error)
        elif isinstance(message, http_pb2.HandleSimpleHTTPRequest):
            headers.to_asgi(message.request_headers)
            target(message.url)


DECODERS: dict[str, Callable[[bytes], object]] = {
    "json_rpc": json_rpc,
    "own_service": own_service,
    "target": lambda data: target(_text(data)),
    "headers": lambda data: request(_pairs(data)),
    "handshake": lambda data: handshake(_pairs(data)),
    "address": lambda data: address(_text(data)),
    "frames": frames,
    "identifiers": identifiers,
    "codec": codec,
    "warp": warp_messages,
    "signature_requests": signature_requests,
    "public_keys": public_keys,
    "peers": peer_messages,
    "bloom": bloom,
    "transactions": transactions,
    "blocks": blocks,
    "messages": messages,
}


def call(method: str, params: Any, call_id: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}).encode()


UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
]
