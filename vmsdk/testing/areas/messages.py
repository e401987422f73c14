"""Messages of peers: none of them may stop the chain."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import AppError
from vmsdk.host.appsender import SentError, SentGossip, SentRequest, SentResponse
from vmsdk.host.errors import CallFailed, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.service import ServiceError
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import ROUTER, VM_CLIENT, Severity, Violation, contract
from vmsdk.testing.hook import HookFailed
from vmsdk.testing.wire import (
    DEADLINE,
    DEEP,
    HUGE,
    MIB,
    PEER,
    PROMPT_S,
    app_request,
    attempt,
    call,
    check_calls_after_shutdown,
    gossip,
    must_succeed,
    short,
)

_HANDLER = "snow/networking/handler/handler.go"

_RESPONSE_TIMEOUT_S = 5.0
_QUIET_S = 0.3
_IN_A_ROW = 1_000
_SAME_GOSSIP = 20
# A developer may want to see a line or two for each bad message.
_LOG_LINES, _LOG_CHARACTERS = 2 * _IN_A_ROW, 512 * _IN_A_ROW
_GARBAGE = (b"", b"\0", b"\xff" * 100, bytes(range(256)), b'{"garbage": [', DEEP, HUGE, os.urandom(1_000))


def _deliver(host: Host, calls: Iterable[tuple[str, Message]], what: str) -> None:
    """Make *calls*, whose errors stop a chain. Raises `Violation` for the first error."""
    for method, request in calls:
        with must_succeed(
            f"{what} stops the chain",
            sent=f"{method} with {_shown(request)}",
            node=f'an error of {method} is fatal: "shutting down chain"',
            cure="log what you can't handle, and return normally; refuse a bad request with SendAppError",
            errors=(CallFailed, PluginGone),
        ):
            call(host, method, request, PROMPT_S)


def _shown(request: Message) -> str:
    fields = []
    for field, value in request.ListFields():
        shown = short(value) if isinstance(value, bytes) else str(value).strip().replace("\n", " ")
        fields.append(f"{field.name} {shown}")
    return ", ".join(fields) or "nothing"


def _response(data: bytes, number: int) -> tuple[str, Message]:
    return "AppResponse", pb.AppResponseMsg(node_id=PEER, request_id=number, response=data)


def _failure(number: int, code: int, text: str) -> tuple[str, Message]:
    return (
        "AppRequestFailed",
        pb.AppRequestFailedMsg(node_id=PEER, request_id=number, error_code=code, error_message=text),
    )


# Garbage ------------------------------------------------------------------------------------------


@contract("messages", severity=Severity.STOPS, source=VM_CLIENT)
def gossip_may_be_garbage(bench: Bench) -> None:
    """Any peer can gossip any bytes; an error stops the chain."""
    with bench.chain() as host:
        _deliver(host, map(gossip, _GARBAGE), "gossip that is garbage")
        bench.alive(host)


@contract("messages", severity=Severity.MISBEHAVES, source="network/p2p/gossip/gossip.go")
def gossip_is_not_echoed(bench: Bench) -> None:
    """Gossip that the VM knows is not sent again, or nodes send it to each other forever."""
    data = os.urandom(100)
    with bench.chain() as host:
        before = len(host.services.app_sender.sent)
        _deliver(host, [gossip(data)] * _SAME_GOSSIP, "gossip that is repeated")
        host.process.wait(_QUIET_S)  # The VM may pass it on later.
        sent = host.services.app_sender.sent[before:]
    echoes = sum(isinstance(each, SentGossip) and data in each.message for each in sent)
    # A VM that takes any bytes as a transaction passes them on once, or now and then.
    if echoes > _SAME_GOSSIP // 2:
        raise Violation(
            "the VM passes on gossip that it has seen already",
            sent=f"the same AppGossip of {len(data)} bytes, {_SAME_GOSSIP} times",
            got=f"SendAppGossip with these bytes, {echoes} times",
            node="nodes send the message to each other forever, each to several others",
            cure="pass on only what is valid and new",
        )


@contract("messages", severity=Severity.STOPS, source=VM_CLIENT)
def requests_may_be_garbage(bench: Bench) -> None:
    """Any peer can request anything; an error stops the chain."""
    with bench.chain() as host:
        calls = [app_request(data, 2 * number) for number, data in enumerate(_GARBAGE)]
        _deliver(host, calls, "a request that is garbage")
        bench.alive(host)


@contract("messages", severity=Severity.STOPS, source=VM_CLIENT)
def messages_of_1_mib(bench: Bench) -> None:
    """Messages from peers may have up to 2 MiB."""
    data = os.urandom(MIB)
    with bench.chain() as host:
        _deliver(host, (gossip(data), app_request(data)), "a message of 1 MiB")
        bench.alive(host)


@contract("messages", severity=Severity.BETTER_NOT, source=ROUTER)
def responses_may_be_unexpected(bench: Bench) -> None:
    """A response to no request, which a node drops, may be an error but does not end the plugin."""
    numbers = (0, 1, 2**31, 2**32 - 1)
    calls = [each for number in numbers for each in (_response(b"late", number), _response(b"", number))]
    calls += [_failure(number, code, "") for number in numbers for code in (-1, 0, 1, -(2**31))]
    with bench.chain() as host:
        for method, request in calls:
            with (
                suppress(CallFailed),  # The node's own library for VMs in Go returns an error.
                must_succeed(
                    "a response to no request ends the plugin",
                    sent=f"{method} with {_shown(request)}",
                    node="it drops such responses today; if it did not, the chain would stop",
                    cure="ignore a response or a failure whose request ID you don't know",
                    errors=PluginGone,
                ),
            ):
                call(host, method, request, PROMPT_S)
        bench.alive(host)


@contract("messages", severity=Severity.STOPS, source=_HANDLER)
def requests_may_be_late(bench: Bench) -> None:
    """A request whose deadline has passed is not an error."""
    with bench.chain() as host:
        deadlines = (Timestamp(), Timestamp(seconds=1), Timestamp(seconds=253_402_300_799, nanos=999_999_999))
        calls = [app_request(b"late", 2 * n, deadline=deadline) for n, deadline in enumerate(deadlines)]
        _deliver(host, calls, "a request after its deadline")
        bench.alive(host)


@contract("messages", severity=Severity.STOPS, source=_HANDLER)
def many_messages_in_a_row(bench: Bench) -> None:
    """A peer may send any number of messages, and two are handled at once."""
    with bench.chain() as host, concurrent.futures.ThreadPoolExecutor(2) as pool:

        def send(half: int) -> None:
            numbers = range(half, _IN_A_ROW, 2)
            calls = (gossip(b"%d" % n) if n % 4 < 2 else app_request(b"%d" % n, 2 * n) for n in numbers)
            _deliver(host, calls, "a burst of messages")

        list(pool.map(send, (0, 1)))  # This raises what they raise.
        bench.alive(host)


@contract("messages", severity=Severity.BETTER_NOT, source=_HANDLER)
def garbage_does_not_flood_the_log(bench: Bench) -> None:
    """A peer must not be able to fill the validator's disk through the log."""
    with bench.chain() as host:
        makers: tuple[Callable[[bytes, int], tuple[str, Message]], ...] = (
            lambda data, number: gossip(data),
            lambda data, number: app_request(data, 2 * number),
            lambda data, number: ("ParseBlock", pb.ParseBlockRequest(bytes=data)),
        )
        for make in makers:
            lines, characters = len(bench.log), sum(map(len, bench.log))
            for number in range(_IN_A_ROW):
                method, request = make(b"garbage %d" % number, number)
                attempt(host, method, request)  # Whether it may fail is for other checks.
            bench.alive(host)
            lines, characters = len(bench.log) - lines, sum(map(len, bench.log)) - characters
            if lines > _LOG_LINES or characters > _LOG_CHARACTERS:
                raise Violation(
                    "bad messages of peers flood the log",
                    sent=f"{method} with garbage, {_IN_A_ROW} times",
                    got=f"{lines} lines with {characters} characters",
                    node="it writes them to its log file",
                    cure="log one line, at debug level, for a message that you can't handle",
                )


@contract("messages", severity=Severity.MISBEHAVES, source=_HANDLER, needs_blocks=True)
def garbage_is_no_transaction(bench: Bench) -> None:
    """After garbage from peers, blocks are built, and are valid."""
    with bench.alone() as host:
        # Of all lengths that a transaction or one of its fields may have.
        datas = [*_GARBAGE[:-3], *(os.urandom(length) for length in range(1, 300))]
        for number, data in enumerate(datas):
            for method, request in (gossip(data), app_request(data, 2 * number)):
                attempt(host, method, request)  # Whether it may fail is for other checks.
        try:
            bench.grow(host, 2)
        except (CallFailed, Violation) as error:
            raise Violation(
                "after garbage from a peer, no block is built, or an invalid one",
                sent=f"AppGossip and AppRequest with {len(datas)} kinds of garbage, then a transaction",
                got=str(error),
                node="any peer can prevent new blocks",
                cure="check a peer's transaction like a client's: its format, its signature, its effects",
            ) from None


@contract("messages", severity=Severity.STOPS, source=VM_CLIENT, needs_blocks=True)
def own_gossip_is_understood(bench: Bench) -> None:
    """Another node of the chain handles what a VM gossips and requests, and builds blocks."""
    with bench.alone() as host:
        bench.grow(host, 2)
        bench.submit(host)
        host.process.wait(_QUIET_S)  # The VM may send a little later.
        sent = [each for each in host.services.app_sender.sent if isinstance(each, SentGossip | SentRequest)]
    with bench.alone() as peer:
        for number, each in enumerate(sent):
            message = (
                gossip(each.message)
                if isinstance(each, SentGossip)
                else app_request(each.request, 2 * number)
            )
            _deliver(peer, [message, message], "a message that another node of the chain has sent")
        bench.grow(peer, 1)


# Requests -----------------------------------------------------------------------------------------


@contract("messages", severity=Severity.BETTER_NOT, source="network/p2p/network.go")
def requests_get_a_response(bench: Bench) -> None:
    """A peer that gets neither a response nor an error waits until its request times out."""
    with bench.chain() as host:
        reply = host.services.network.request(PEER, b"garbage", timeout_s=2 * _RESPONSE_TIMEOUT_S)
        try:
            reply.result(_RESPONSE_TIMEOUT_S)
        except AppError:
            pass
        except concurrent.futures.TimeoutError:
            if host.chain.engine.fault is not None:
                raise host.chain.engine.fault from None
            raise Violation(
                "a request gets neither a response nor an error",
                sent="AppRequest with 'garbage'",
                got=f"nothing for {_RESPONSE_TIMEOUT_S:.0f} s",
                node="the peer's request times out, and the peer considers this node slow",
                cure="call SendAppResponse or SendAppError for every request",
            ) from None


@contract("messages", severity=Severity.BETTER_NOT, source=ROUTER)
def requests_get_one_response(bench: Bench) -> None:
    """A request gets one response or one error, not both."""
    number = 4_000_002  # No other check uses it.
    with bench.chain() as host:
        before = len(host.services.app_sender.sent)
        _deliver(host, [app_request(b"garbage", number)], "a request that is garbage")
        host.process.wait(_QUIET_S)  # A second response may come later.
        replies = [
            each
            for each in host.services.app_sender.sent[before:]
            if isinstance(each, SentResponse | SentError) and each.request_id == number
        ]
    if len(replies) > 1:
        raise Violation(
            "a request gets more than one response",
            sent="AppRequest with 'garbage'",
            got=", ".join(str(each) for each in replies),
            node="the peer's node drops all but the first",
            cure="call either SendAppResponse or SendAppError, once",
        )


@contract("messages", severity=Severity.BETTER_NOT, source="vms/rpcchainvm/appsender/appsender_server.go")
def sends_may_fail(bench: Bench) -> None:
    """A message that the node can't send ends neither the plugin nor a client's request."""

    def fail(method: str, request: Any, invoke: Callable[[], Any]) -> Any:
        raise ServiceError("vmsdk check: the node can't send this")

    with bench.chain() as host:
        sender = host.services.app_sender
        around, sender.around = sender.around, fail
        try:
            for data in (b"garbage", b""):
                with suppress(CallFailed):  # The node's own library for VMs in Go returns an error.
                    call(host, *app_request(data), PROMPT_S)
            with must_succeed(
                "a transaction is refused because the node can't gossip it",
                sent="a transaction, while SendAppGossip fails",
                node="nothing, but the client assumes that its transaction is lost",
                cure="log that a message can't be sent, and continue",
                errors=HookFailed,
            ):
                if bench.hook is not None:
                    bench.submit(host)
        finally:
            sender.around = around
        bench.alive(host)


@contract("messages", severity=Severity.STOPS, source=ROUTER)
def messages_before_normal_operation(bench: Bench) -> None:
    """Messages arrive as soon as the chain is created, before it has bootstrapped."""
    with bench.initialized() as host:
        calls = (_connected(PEER), gossip(b"early"), app_request(b"early"), _disconnected(PEER))
        _deliver(host, calls, "a message before normal operation")


@contract("messages", severity=Severity.STOPS, source=VM_CLIENT, protocols=range(35, 37))
def messages_of_other_chains(bench: Bench) -> None:
    """Up to protocol 36 other chains of the node can send messages."""
    sender: dict[str, Any] = {"chain_id": b"chain of the node".ljust(32, b".")}
    calls: Sequence[tuple[str, Message]] = (
        (
            "CrossChainAppRequest",
            pb.CrossChainAppRequestMsg(**sender, request_id=1, deadline=DEADLINE, request=b"garbage"),
        ),
        ("CrossChainAppResponse", pb.CrossChainAppResponseMsg(**sender, request_id=3, response=b"late")),
        ("CrossChainAppRequestFailed", pb.CrossChainAppRequestFailedMsg(**sender, request_id=5)),
    )
    with bench.chain() as host:
        _deliver(host, calls, "a message of another chain")
        bench.alive(host)


# Peers --------------------------------------------------------------------------------------------


@contract("messages", severity=Severity.STOPS, source=_HANDLER)
def peers_come_and_go(bench: Bench) -> None:
    """Connected and Disconnected may arrive for any node, in any order; errors stop the chain."""
    with bench.chain() as host:
        own = host.config.identity.node_id
        _deliver(host, (_connected(own), _connected(own)), "the node's own ID as a peer")
        _deliver(host, (_disconnected(PEER),), "the end of an unknown connection")
        again = (_connected(PEER), _connected(PEER), _disconnected(PEER), _disconnected(PEER))
        _deliver(host, again, "a peer that connects or disconnects twice")
        bench.alive(host)


@contract("messages", severity=Severity.STOPS, source=_HANDLER)
def peers_are_many(bench: Bench) -> None:
    """A node has thousands of peers, of all versions and clients."""
    ids = [number.to_bytes(20, "big") for number in range(500)]
    with bench.chain() as host:
        _deliver(host, map(_connected, ids), "the 500th peer")
        odd = pb.ConnectedRequest(node_id=PEER, name="", major=0, minor=2**32 - 1, patch=2**32 - 1)
        _deliver(host, [("Connected", odd)], "a peer with an odd version")
        _deliver(host, map(_disconnected, ids), "the end of 500 connections")
        bench.alive(host)


def _connected(node_id: bytes) -> tuple[str, Message]:
    return "Connected", pb.ConnectedRequest(node_id=node_id, name="metalgo", major=1, minor=13, patch=5)


def _disconnected(node_id: bytes) -> tuple[str, Message]:
    return "Disconnected", pb.DisconnectedRequest(node_id=node_id)


@contract("messages", severity=Severity.MISBEHAVES, source=_HANDLER)
def messages_after_shutdown(bench: Bench) -> None:
    """A message that arrives during Shutdown may fail, but must not hang."""
    with bench.alone() as host:
        check_calls_after_shutdown(host, (gossip(b"late"), app_request(b"late"), _response(b"late", 4)))
