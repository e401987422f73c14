"""A peer that speaks Go's own `network/p2p`, connected to a network of ours as by nodes."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from typing_extensions import Self

from vmsdk.context import Context
from vmsdk.errors import AppError
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import AppSender, NodeServices, Validator, ValidatorState
from vmsdk.p2p import Gossip, Network
from vmsdk.timestamp import MAX_SECONDS, Timestamp
from vmsdk.vm import NodeVersion

from .build import PEER, build
from .nodes import Node

OURS, GO = NodeID(b"\1" * 20), NodeID(b"\2" * 20)
NEVER = Timestamp(MAX_SECONDS)
VERSION = NodeVersion("avalanchego", 1, 14, 2)
LINE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Heard:
    """Gossip that reached the Go peer's own handler."""

    node_id: NodeID
    message: bytes


class GoPeer:
    """The Go program. Each call returns what it has sent by then, beside its result."""

    def __init__(self, node: Node) -> None:
        self._process = subprocess.Popen(
            [str(build(PEER, node))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def call(self, op: str, **arguments: Any) -> tuple[Any, list[dict[str, Any]]]:
        """Run one command. Return its result, and the messages that it led to."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        messages: list[dict[str, Any]] = []
        while True:
            line = self._lines.get(timeout=LINE_TIMEOUT_S)
            assert line is not None, f"the Go peer has ended in {op}"
            if line["op"] == "done":
                return line["result"], messages
            messages.append(line)

    def close(self) -> None:
        """End the program: it fails if it ended before, or does not end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            status = self._process.wait(LINE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        assert status == 0


class Link:
    """A network of ours and a Go peer, and two nodes that carry messages between them.

    Both are validators. Messages are delivered within the call that sends them.
    """

    def __init__(self, node: Node, validators: Sequence[NodeID] = (OURS, GO)) -> None:
        self.go = GoPeer(node)
        self.sender = cast(AppSender, self)
        self.validators = cast(ValidatorState, self)
        self._weights = dict.fromkeys(validators, 1)
        ctx = Context(node_id=OURS, services=cast(NodeServices, self))
        self.network = Network(ctx)
        self.items = Items()
        self.gossip = Gossip(self.network, self.items)
        self.network.add_handler(0, self.gossip)
        self.answered: list[bytes | AppError] = []
        """How the requests of the Go peer ended."""
        self.heard: list[Heard] = []
        self.command("validators", nodes=[node_id.hex() for node_id in validators])
        for node_id in (OURS, GO):
            self.network.connected(node_id, VERSION)
            self.command("connected", node=node_id.hex())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.close()

    def command(self, op: str, **arguments: Any) -> Any:
        """Run a command of the Go peer, and deliver what it sends."""
        result, messages = self.go.call(op, **arguments)
        for message in messages:
            self._from_go(message)
        return result

    def ask(self, handler_id: int, request: bytes) -> Future[bytes]:
        """Send a request of ours to the Go peer."""
        return self.network.client(handler_id).request(GO, request)

    def _from_go(self, message: dict[str, Any]) -> None:
        data = bytes.fromhex(message.get("bytes", ""))
        request_id = message.get("request", 0)
        to_us = OURS.hex() in message.get("nodes", ())
        match message["op"]:
            case "app_request" if to_us:
                try:
                    response = self.network.app_request(GO, request_id, NEVER, data)
                except AppError as error:
                    self._fail_go(request_id, error)
                else:
                    self.command("app_response", node=OURS.hex(), request=request_id, bytes=response.hex())
            case "app_request":
                self._fail_go(request_id, AppError(AppError.TIMED_OUT, "timed out"))
            case "app_response":
                self.network.app_response(GO, request_id, data)
            case "app_error":
                failure = AppError(message["code"], message["message"])
                self.network.app_request_failed(GO, request_id, failure)
            case "app_gossip":
                self.network.app_gossip(GO, data)
            case "answered" if "message" in message:
                self.answered.append(AppError(message["code"], message["message"]))
            case "answered":
                self.answered.append(data)
            case "heard":
                self.heard.append(Heard(NodeID(bytes.fromhex(message["node"])), data))

    def _fail_go(self, request_id: int, error: AppError) -> None:
        failure = {"code": error.code, "message": error.message}
        self.command("app_error", node=OURS.hex(), request=request_id, **failure)

    # Our node -----------------------------------------------------------------------------------

    def send_app_request(self, node_ids: Iterable[NodeID], request_id: int, request: bytes) -> None:
        assert list(node_ids) == [GO]
        self.command("app_request", node=OURS.hex(), request=request_id, bytes=request.hex())

    def send_app_gossip(self, message: bytes, **targets: Any) -> None:
        self.command("app_gossip", node=OURS.hex(), bytes=message.hex())

    def get_current_height(self) -> int:
        return 7

    def get_validator_set(self, height: int, subnet_id: ID) -> dict[NodeID, Validator]:
        return {node_id: Validator(node_id, weight) for node_id, weight in self._weights.items()}


class Items:
    """Takes what does not start with `bad`, as the Go peer does."""

    def __init__(self) -> None:
        self.by_id: dict[ID, bytes] = {}

    def add(self, raw: bytes) -> bool:
        if raw.startswith(b"bad"):
            return False
        self.by_id[ID.of(raw)] = raw
        return True

    def has(self, item_id: ID) -> bool:
        return item_id in self.by_id

    def raws(self) -> list[bytes]:
        return list(self.by_id.values())
