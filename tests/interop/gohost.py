"""Drives the Go host: one object is one host process, which runs one plugin at a time."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import Self

from .build import build
from .nodes import NODES, Node
from .processes import OtherProcess, overloaded

CALL_TIMEOUT_S = 120.0
EVENT_TIMEOUT_S = 60.0
LOG_POLL_S = 0.01
LOG_TAIL_LINES = 40

# The node gives a plugin 5 s. Where a machine has more to do than it can, that is no fault of the
# plugin's.
NO_HANDSHAKE = "handshake failed: vm process not found"
STARTS_UNDER_LOAD = 3

STATE_SYNCING = 1
BOOTSTRAPPING = 2
NORMAL_OPERATION = 3

BUILD_BLOCK = 1
STATE_SYNC_FINISHED = 2


class GoHostError(Exception):
    """An operation failed: in the plugin, in the node's library, or because the host is gone."""

    def __init__(self, op: str, text: str) -> None:
        self.op = op
        self.text = text
        super().__init__(f"{op}: {text}")


class PluginsLeft(AssertionError):
    """Plugins run on without their host; they have been killed."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = pids
        super().__init__(f"the host has ended, and of its plugins {', '.join(map(str, pids))} went on")


@dataclass(frozen=True)
class Identity:
    """Who the host is, and which chain it runs."""

    application: str
    protocol: int
    network_id: int
    node_id: bytes
    subnet_id: bytes
    chain_id: bytes
    x_chain_id: bytes
    c_chain_id: bytes
    avax_asset_id: bytes
    public_key: bytes
    """The node's BLS key, 48 bytes."""
    chain_data_dir: str
    minimum_p_chain_height: int
    current_p_chain_height: int


@dataclass(frozen=True)
class Block:
    """A block as the node's client sees it."""

    id: bytes
    parent_id: bytes
    height: int
    raw: bytes = field(repr=False)
    seconds: int
    """Seconds since the Unix epoch."""
    nanoseconds: int
    verify_with_context: bool
    status: str
    """Processing, Rejected or Accepted at protocol 35; empty after it."""


@dataclass(frozen=True)
class Summary:
    """A state summary as the node's client sees it."""

    id: bytes
    height: int
    raw: bytes


@dataclass(frozen=True)
class Sent:
    """A message that the plugin gave to the app sender."""

    kind: str
    """request, response, error or gossip; with cross_chain_ before up to protocol 36."""
    node_ids: tuple[bytes, ...]
    chain_id: bytes
    """To which a cross-chain message goes; empty for the others."""
    request_id: int
    bytes: bytes
    code: int
    message: str
    validators: int
    non_validators: int
    peers: int


@dataclass(frozen=True)
class Validator:
    """One validator of the host's only subnet."""

    node_id: bytes
    weight: int
    public_key: bytes
    """Uncompressed, 96 bytes; empty where it has none."""


@dataclass(frozen=True)
class Handlers:
    """What the plugin serves over HTTP, by the node's own API server."""

    address: str
    """host:port of the API server."""
    path: str
    """The chain's path on it, without a prefix."""
    chain_id: str
    node_id: str
    prefixes: tuple[str, ...]
    own_handler: bool
    """The plugin has a handler that is routed by header (protocol 41 on)."""

    def url(self, prefix: str = "", scheme: str = "http") -> str:
        """Address of one of the plugin's handlers."""
        return f"{scheme}://{self.address}{self.path}{prefix}"


@dataclass(frozen=True)
class Started:
    """A plugin process whose handshake is done."""

    pid: int
    handshake_ms: float
    """From exec."""


@dataclass(frozen=True)
class Initialized:
    """An answer to Initialize."""

    last_accepted: Block
    initialize_ms: float
    exec_to_call_ms: float
    from_exec_ms: float


class GoHost:
    """A running host of one node's release, or a copy of it.

    Leaving the context ends it, and fails for a plugin that stays when its host is gone, however
    that went.
    """

    def __init__(self, node: str | int | Node = 45, binary: Path | None = None) -> None:
        self.node = node if isinstance(node, Node) else NODES[str(node)]
        self.binary = build("host", self.node) if binary is None else binary
        self._log = tempfile.NamedTemporaryFile(prefix="gohost-", suffix=".log")  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            [str(self.binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._plugins: list[OtherProcess] = []
        self._lock = threading.Lock()
        self._last_id = 0
        self._pending: dict[int, tuple[str, Future[Any]]] = {}
        self._ids: dict[Future[Any], int] = {}
        self._reader = threading.Thread(target=self._read, name="gohost-reader", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def protocol(self) -> int:
        """The protocol version it speaks."""
        return self.node.protocol

    @property
    def pid(self) -> int:
        """Process ID of the host itself."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What the host and its plugins have written so far."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def log_with(self, *texts: str) -> str:
        """The log, once the texts are in it: the node's code copies what a plugin prints on a
        thread of its own, and may do so after all else that came of it.
        """
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while missing := [text for text in texts if text not in self.log]:
            assert time.monotonic() < deadline, f"{missing} did not come; log:\n{self._tail()}"
            time.sleep(LOG_POLL_S)
        return self.log

    def close(self) -> None:
        """Ends the host, and waits for it and its plugins. Raises `PluginsLeft`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a host that has died took the rest of a request with it
            self._process.stdin.close()
        try:
            self._process.wait(CALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        self._await_plugins()

    def _await_plugins(self) -> None:
        left = []
        for plugin in self._plugins:
            with plugin:
                if not plugin.ended():
                    plugin.signal(signal.SIGKILL)
                    left.append(plugin.pid)
        self._plugins = []
        if left:
            raise PluginsLeft(left)

    def kill(self) -> None:
        """Ends the host with SIGKILL, as a node that crashes; `close` is still to be called."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    # Requests

    def submit(self, op: str, **arguments: Any) -> Future[Any]:
        """Sends a request and does not wait: its answer, or its `GoHostError`, comes into the
        future.
        """
        future: Future[Any] = Future()
        with self._lock:
            self._last_id += 1
            request = {"id": self._last_id, "op": op}
            request.update({name: _encoded(value) for name, value in arguments.items() if value is not None})
            self._pending[self._last_id] = (op, future)
            self._ids[future] = self._last_id
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError):
                del self._pending[self._last_id]
                del self._ids[future]
                future.set_exception(self._gone(op))
        return future

    def call(self, op: str, *, timeout_s: float = CALL_TIMEOUT_S, **arguments: Any) -> Any:
        """Sends a request and waits for its answer."""
        future = self.submit(op, **arguments)
        try:
            return future.result(timeout_s)
        except FutureTimeout:
            raise GoHostError(op, f"no answer in {timeout_s} s; log:\n{self._tail()}") from None

    def cancel(self, future: Future[Any]) -> None:
        """Cancels a request that was submitted: the call in the plugin ends with it."""
        with self._lock:
            request = self._ids.get(future)
        if request is not None:
            self.call("cancel", request=request)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                op, future = self._pending.pop(answer["id"])
                self._ids.pop(future, None)
            if "error" in answer:
                future.set_exception(GoHostError(op, answer["error"]))
            else:
                future.set_result(answer.get("result"))
        with self._lock:
            pending, self._pending = self._pending, {}
            self._ids.clear()
        for op, future in pending.values():
            future.set_exception(self._gone(op))

    def _gone(self, op: str) -> GoHostError:
        return GoHostError(op, f"the host has ended; log:\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-LOG_TAIL_LINES:])

    # The plugin's life

    def info(self) -> Identity:
        """Who the host is."""
        found = self.call("info")
        for name in (
            "node_id",
            "subnet_id",
            "chain_id",
            "x_chain_id",
            "c_chain_id",
            "avax_asset_id",
            "public_key",
        ):
            found[name] = base64.b64decode(found[name])
        return Identity(**found)

    def register(self, plugin: Path | str) -> str:
        """A registration launch: start, Version, Shutdown. What the plugin says its version is."""
        return str(self._launch("register", plugin)["version"])

    def start(self, plugin: Path | str) -> Started:
        """Starts a plugin process; returns once the handshake is done."""
        started = Started(**self._launch("start", plugin))
        self._plugins.append(OtherProcess(started.pid))
        return started

    def _launch(self, op: str, plugin: Path | str) -> Any:
        for attempt in range(STARTS_UNDER_LOAD):
            try:
                return self.call(op, plugin=str(plugin))
            except GoHostError as error:
                last = attempt == STARTS_UNDER_LOAD - 1
                if last or NO_HANDSHAKE not in error.text or not overloaded():
                    raise GoHostError(error.op, f"{error.text}; log:\n{self._tail()}") from None
        raise AssertionError("unreachable")

    def initialize(self, genesis: bytes = b"", upgrade: bytes = b"", config: bytes = b"") -> Initialized:
        """The Initialize call."""
        found = self.call("initialize", genesis=genesis, upgrade=upgrade, config=config)
        return Initialized(**{**found, "last_accepted": _block(found["last_accepted"])})

    def run(self, plugin: Path | str, genesis: bytes = b"", config: bytes = b"") -> Block:
        """Starts a plugin and takes it to normal operation; its last accepted block."""
        self.start(plugin)
        self.initialize(genesis, config=config)
        self.set_state(BOOTSTRAPPING)
        return self.set_state(NORMAL_OPERATION)

    def set_state(self, state: int) -> Block:
        """The SetState call; the last accepted block that it answers with."""
        return _block(self.call("set_state", state=state))

    def version(self) -> str:
        """The Version call."""
        return str(self.call("version")["version"])

    def health(self) -> Any:
        """The Health call: the JSON it answers with, decoded."""
        return self.call("health")["details"]

    def gather(self, *, from_plugin: bool = False) -> str:
        """What the node's metrics show of the chain, in the text format; or what the plugin alone
        gives.
        """
        return str(self.call("gather", plugin=from_plugin)["text"])

    def shutdown(self) -> None:
        """Shuts the plugin down as a node does: ends event waits, calls Shutdown, stops the
        process.
        """
        self.call("shutdown")

    def signal(self, number: int) -> None:
        """Sends a signal to the plugin's process."""
        self.call("kill", signal=number)

    def wait_exited(self, timeout_s: float = EVENT_TIMEOUT_S) -> None:
        """Waits until the plugin's process is gone, after it was killed or died."""
        self.call("exited", timeout_ms=int(timeout_s * 1000))

    # Events and peers

    def wait_for_event(self, timeout_s: float = EVENT_TIMEOUT_S) -> int:
        """The plugin's next event: answer to WaitForEvent, or up to protocol 41 the next Notify."""
        return int(self.call("wait_for_event", timeout_ms=int(timeout_s * 1000))["message"])

    def connected(self, node_id: bytes, name: str, version: tuple[int, int, int]) -> None:
        """A peer connects."""
        major, minor, patch = version
        self.call("connected", node_id=node_id, name=name, major=major, minor=minor, patch=patch)

    def disconnected(self, node_id: bytes) -> None:
        """A peer is gone."""
        self.call("disconnected", node_id=node_id)

    def app_request(self, node_id: bytes, request_id: int, data: bytes, deadline_s: float = 10.0) -> None:
        """A peer asks."""
        deadline_ms = int(deadline_s * 1000)
        self.call("app_request", node_id=node_id, request_id=request_id, bytes=data, deadline_ms=deadline_ms)

    def app_response(self, node_id: bytes, request_id: int, data: bytes) -> None:
        """A peer answers."""
        self.call("app_response", node_id=node_id, request_id=request_id, bytes=data)

    def app_request_failed(self, node_id: bytes, request_id: int, code: int, message: str) -> None:
        """A request to a peer fails."""
        self.call("app_request_failed", node_id=node_id, request_id=request_id, code=code, message=message)

    def app_gossip(self, node_id: bytes, data: bytes) -> None:
        """A peer gossips."""
        self.call("app_gossip", node_id=node_id, bytes=data)

    def cross_chain_request(self, request_id: int, data: bytes, deadline_s: float = 10.0) -> None:
        """The X-chain asks (up to protocol 36)."""
        deadline_ms = int(deadline_s * 1000)
        self.call("cross_chain_request", request_id=request_id, bytes=data, deadline_ms=deadline_ms)

    def cross_chain_response(self, request_id: int, data: bytes) -> None:
        """The X-chain answers (up to protocol 36)."""
        self.call("cross_chain_response", request_id=request_id, bytes=data)

    def cross_chain_request_failed(self, request_id: int, code: int, message: str) -> None:
        """A request to the X-chain fails (up to protocol 36)."""
        self.call("cross_chain_request_failed", request_id=request_id, code=code, message=message)

    def next_sent(self, timeout_s: float = EVENT_TIMEOUT_S) -> Sent:
        """The next message that the plugin sends or has sent."""
        found = self.call("next_sent", timeout_ms=int(timeout_s * 1000))
        return Sent(
            kind=found["kind"],
            node_ids=tuple(base64.b64decode(node_id) for node_id in found.get("node_ids", ())),
            chain_id=base64.b64decode(found.get("chain_id", "")),
            request_id=found.get("request_id", 0),
            bytes=base64.b64decode(found.get("bytes", "")),
            code=found.get("code", 0),
            message=found.get("message", ""),
            validators=found.get("validators", 0),
            non_validators=found.get("non_validators", 0),
            peers=found.get("peers", 0),
        )

    def configure_sender(self, failure: str = "", loop: bool = False) -> None:
        """Makes the app sender fail with a text, or hand back to the plugin what it sends."""
        self.call("sender", failure=failure, loop=loop)

    # Blocks

    def last_accepted(self) -> Block:
        """The last accepted block, as the node's client knows it."""
        return _block(self.call("last_accepted"))

    def build(self, p_chain_height: int | None = None) -> Block:
        """The plugin builds a block."""
        return _block(self.call("build", p_chain_height=p_chain_height))

    def parse(self, data: bytes) -> Block:
        """The plugin reads a block."""
        return _block(self.call("parse", bytes=data))

    def batched_parse(self, blocks: Sequence[bytes]) -> list[Block]:
        """The plugin reads blocks in one call."""
        return [_block(found) for found in self.call("batched_parse", blocks=list(blocks))]

    def get_block(self, block_id: bytes) -> Block:
        """A block by its ID, from the node's cache or the plugin."""
        return _block(self.call("get_block", block=block_id))

    def get_block_id_at_height(self, height: int) -> bytes:
        """ID of the accepted block at a height."""
        return base64.b64decode(self.call("get_block_id_at_height", height=height)["id"])

    def get_ancestors(
        self,
        block_id: bytes,
        max_blocks: int = 2000,
        max_size: int = 1_677_721,
        max_duration_ns: int = 50_000_000,
    ) -> list[bytes]:
        """Bytes of a block and of its ancestors, newest first."""
        found = self.call(
            "get_ancestors",
            block=block_id,
            max_blocks=max_blocks,
            max_size=max_size,
            max_duration_ns=max_duration_ns,
        )
        return [base64.b64decode(block) for block in found["blocks"] or ()]

    def set_preference(self, block_id: bytes) -> None:
        """The block to build on."""
        self.call("set_preference", block=block_id)

    def verify(self, block_id: bytes, p_chain_height: int | None = None) -> Block:
        """Verifies a block that was built, parsed or got before."""
        return _block(self.call("verify", block=block_id, p_chain_height=p_chain_height))

    def accept(self, block_id: bytes) -> Block:
        """Accepts a verified block."""
        return _block(self.call("accept", block=block_id))

    def reject(self, block_id: bytes) -> Block:
        """Rejects a verified block."""
        return _block(self.call("reject", block=block_id))

    # State sync

    def state_sync_enabled(self) -> bool:
        """Whether the plugin wants to sync its state."""
        return bool(self.call("state_sync_enabled")["enabled"])

    def ongoing_state_summary(self) -> Summary:
        """The summary of a sync that was not finished."""
        return _summary(self.call("get_ongoing_state_summary"))

    def last_state_summary(self) -> Summary:
        """The plugin's newest summary."""
        return _summary(self.call("get_last_state_summary"))

    def parse_state_summary(self, data: bytes) -> Summary:
        """The plugin reads a summary."""
        return _summary(self.call("parse_state_summary", bytes=data))

    def state_summary(self, height: int) -> Summary:
        """The plugin's summary at a height."""
        return _summary(self.call("get_state_summary", height=height))

    def accept_state_summary(self, data: bytes) -> int:
        """Parses and accepts a summary: 1 skipped, 2 static, 3 dynamic."""
        return int(self.call("accept_state_summary", bytes=data)["mode"])

    # Services, seen from their other end

    def peer_put(self, key: bytes, value: bytes, traits: Sequence[bytes] = ()) -> None:
        """The X-chain sends an element to the plugin's chain through shared memory."""
        self.call("peer_apply", puts=[{"key": key, "value": value, "traits": list(traits)}])

    def peer_remove(self, keys: Sequence[bytes]) -> None:
        """The X-chain takes away what the plugin's chain has sent."""
        self.call("peer_apply", removes=list(keys))

    def peer_get(self, keys: Sequence[bytes]) -> list[bytes]:
        """The X-chain reads what the plugin's chain has sent."""
        return [base64.b64decode(value) for value in self.call("peer_get", keys=list(keys))["values"]]

    def peer_indexed(self, traits: Sequence[bytes], limit: int = 100) -> list[bytes]:
        """The X-chain reads, by trait, what the plugin's chain has sent."""
        found = self.call("peer_indexed", traits=list(traits), limit=limit)["values"]
        return [base64.b64decode(value) for value in found or ()]

    def validators(self) -> list[Validator]:
        """The validators of the host's only subnet, by ascending node ID."""
        return [
            Validator(
                base64.b64decode(found["node_id"]),
                found["weight"],
                base64.b64decode(found.get("public_key", "")),
            )
            for found in self.call("validators")["validators"]
        ]

    def warp_verify(self, payload: bytes, signature: bytes) -> bool:
        """Whether a signature is the node's, over a warp message of its chain with this payload."""
        return bool(self.call("warp_verify", payload=payload, signature=signature)["valid"])

    def create_handlers(self) -> Handlers:
        """Asks for the plugin's HTTP handlers, and serves them with the node's own API server."""
        found = self.call("create_handlers")
        return Handlers(**{**found, "prefixes": tuple(found["prefixes"] or ())})


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_encoded(element) for element in value]
    if isinstance(value, dict):
        return {key: _encoded(element) for key, element in value.items()}
    return value


def _block(found: dict[str, Any]) -> Block:
    return Block(
        id=base64.b64decode(found["id"]),
        parent_id=base64.b64decode(found["parent_id"]),
        height=found["height"],
        raw=base64.b64decode(found["bytes"]),
        seconds=found["seconds"],
        nanoseconds=found["nanoseconds"],
        verify_with_context=found["verify_with_context"],
        status=found.get("status", ""),
    )


def _summary(found: dict[str, Any]) -> Summary:
    return Summary(base64.b64decode(found["id"]), found["height"], base64.b64decode(found["bytes"]))
