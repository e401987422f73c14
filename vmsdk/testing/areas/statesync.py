"""State sync, with or without support by the VM."""

from __future__ import annotations

import os

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.appnetwork import Relay
from vmsdk.host.node import Host
from vmsdk.host.statesync import Summary
from vmsdk.ids import NodeID
from vmsdk.state import Event, State
from vmsdk.statesync import StateSyncMode
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import VM_SERVER, Severity, Skipped, Violation, contract
from vmsdk.testing.wire import MIB, attempt, call, events_ended, must_succeed, short, storage, wait_for_event

_SYNCER = "snow/engine/snowman/syncer/state_syncer.go"
_NOT_IMPLEMENTED = pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED
_SYNC_TIMEOUT_S = 20.0
_AGAIN_TIMEOUT_S = 5.0
_MAX_BLOCKS = 8
_SERVING = NodeID(b"\x01" * 20)
_SYNCING = NodeID(b"\x02" * 20)
_NO_SUMMARY = b"vmsdk check: not a summary"
# Requests for what no VM has.
_ONGOING: tuple[str, Message] = ("GetOngoingSyncStateSummary", Empty())
_AT_HEIGHT: tuple[str, Message] = ("GetStateSummary", pb.GetStateSummaryRequest(height=2**63))


def _needs_state_sync(host: Host) -> None:
    """Raise `Skipped` if the VM has no state sync."""
    response = attempt(host, "GetLastStateSummary", Empty())
    if response is not None and response.err == _NOT_IMPLEMENTED:
        raise Skipped("the VM has no state sync")


@contract("statesync", severity=Severity.STOPS, source=_SYNCER)
def enabled_is_reported(bench: Bench) -> None:
    """StateSyncEnabled returns OK in every VM: an error stops the chain at its start."""
    with bench.initialized() as host:
        with must_succeed(
            "StateSyncEnabled fails",
            sent="StateSyncEnabled",
            node="it never starts the chain",
            cure="return enabled = false if the VM has no state sync",
        ):
            response = call(host, "StateSyncEnabled", Empty())
        if response.err not in (pb.ERROR_UNSPECIFIED, _NOT_IMPLEMENTED) or (
            response.err and response.enabled
        ):
            raise Violation(
                "StateSyncEnabled returns an error in err",
                sent="StateSyncEnabled",
                got=f"enabled {response.enabled}, err {response.err}",
                node="it never starts the chain",
                cure=f"return err = 0, or {_NOT_IMPLEMENTED} (not implemented) with enabled = false",
            )


@contract("statesync", severity=Severity.MISBEHAVES, source=VM_SERVER)
def unsupported_is_reported(bench: Bench) -> None:
    """A VM without state sync returns `err = STATE_SYNC_NOT_IMPLEMENTED` from each method."""
    with bench.chain() as host:
        last = attempt(host, "GetLastStateSummary", Empty())
        if last is not None and last.err != _NOT_IMPLEMENTED:
            raise Skipped("the VM has state sync")
        calls: tuple[tuple[str, Message], ...] = (
            _ONGOING,
            _AT_HEIGHT,
            ("GetLastStateSummary", Empty()),
            ("ParseStateSummary", pb.ParseStateSummaryRequest(bytes=_NO_SUMMARY)),
            ("StateSummaryAccept", pb.StateSummaryAcceptRequest(bytes=_NO_SUMMARY)),
        )
        for method, request in calls:
            response = attempt(host, method, request)
            if response is None or response.err != _NOT_IMPLEMENTED:
                raise Violation(
                    f"{method} does not report that the VM has no state sync",
                    sent=method,
                    got="an error" if response is None else f"err {response.err}",
                    node="it logs an error at each request of a syncing peer, or stops the chain",
                    cure=f"return the status OK with err = {_NOT_IMPLEMENTED} from all methods of state sync",
                )
            if method == "StateSummaryAccept" and response.mode != StateSyncMode.SKIPPED:
                raise Violation(
                    "StateSummaryAccept of a VM without state sync does not skip the summary",
                    sent=method,
                    got=f"mode {response.mode}",
                    node="it waits for the end of a sync that never begins",
                    cure=f"return mode {int(StateSyncMode.SKIPPED)} (skipped)",
                )


@contract("statesync", severity=Severity.STOPS, source=_SYNCER)
def missing_summaries_are_not_found(bench: Bench) -> None:
    """A new chain returns `err = NOT_FOUND` for an ongoing or an unknown summary."""
    with bench.chain() as host:
        _needs_state_sync(host)
        for method, request in (_ONGOING, _AT_HEIGHT):
            response = attempt(host, method, request)
            if response is None or response.err != pb.ERROR_NOT_FOUND:
                raise Violation(
                    f"{method} does not report NOT_FOUND for a summary that does not exist",
                    sent=method if method.startswith("GetOngoing") else f"{method}(height {2**63})",
                    got="an error" if response is None else f"err {response.err}, {short(response.bytes)}",
                    node="it stops the chain while syncing, or offers its peers an empty summary",
                    cure="return the status OK with err = ERROR_NOT_FOUND",
                )


@contract("statesync", severity=Severity.MISBEHAVES, source=VM_SERVER)
def garbage_is_refused(bench: Bench) -> None:
    """Bytes that are not a summary are refused and do no harm."""
    with bench.chain() as host:
        _needs_state_sync(host)
        for data in (b"", b"\x00", bytes(31), os.urandom(MIB)):
            response = attempt(host, "ParseStateSummary", pb.ParseStateSummaryRequest(bytes=data))
            if response is not None and not response.err:
                raise Violation(
                    "ParseStateSummary accepts garbage as a summary",
                    sent=f"ParseStateSummary({short(data)})",
                    got=f"a summary at height {response.height}",
                    node="it may try to sync to a state that does not exist",
                    cure="parse strictly, and return an error",
                )
        bench.alive(host)


def _last(bench: Bench, host: Host) -> Summary:
    """Grow the chain until it has a summary. Raises `Skipped`."""
    _needs_state_sync(host)
    for _ in range(_MAX_BLOCKS):
        bench.grow(host, 1)
        summary = host.chain.state_sync.last()
        if summary is not None:
            return summary
    raise Skipped(f"the VM has no summary after {_MAX_BLOCKS} blocks")


@contract("statesync", severity=Severity.MISBEHAVES, source=VM_SERVER, needs_blocks=True)
def summaries_parse_back(bench: Bench) -> None:
    """ParseStateSummary and GetStateSummary know what GetLastStateSummary returns."""
    with bench.chain() as host:
        last = _last(bench, host)
        for method, found in (
            ("ParseStateSummary", host.chain.state_sync.parse(last.raw)),
            ("GetStateSummary", host.chain.state_sync.at(last.height)),
        ):
            if found != last:
                raise Violation(
                    f"{method} returns a different summary from GetLastStateSummary",
                    sent=f"GetLastStateSummary, then {method} with its bytes or height",
                    got=f"{found}, not {last}",
                    node="its peers' votes don't agree, so no node syncs",
                    cure="derive the ID and height from the summary's bytes, and keep summaries once offered",
                )
        block_id = host.chain.get_block_id_at_height(last.height)
        if block_id is None:
            raise Violation(
                "a summary's height is not that of an accepted block",
                sent="GetLastStateSummary",
                got=f"height {last.height}; the last accepted is {host.chain.last_accepted.height}",
                node="its proposervm can't wrap the summary",
                cure="offer a summary of the state after an accepted block, at that block's height",
            )


@contract("statesync", severity=Severity.MISBEHAVES, source=VM_SERVER, needs_blocks=True)
def summaries_are_found_by_their_height(bench: Bench) -> None:
    """GetStateSummary returns the summary of exactly that height, or `err = NOT_FOUND`."""
    with bench.chain() as host:
        last = _last(bench, host)
        for height in range(last.height + 2):
            found = host.chain.state_sync.at(height)
            if found is None:
                continue
            parsed = host.chain.state_sync.parse(found.raw)
            if parsed.height != height:
                raise Violation(
                    "GetStateSummary returns the summary of another height",
                    sent=f"GetStateSummary(height {height}); the last summary has height {last.height}",
                    got=f"a summary that parses to height {parsed.height}",
                    node="it votes for a different summary from its peers",
                    cure="return the summary of that height, or err = ERROR_NOT_FOUND if there is none",
                )


@contract("statesync", severity=Severity.STOPS, source=_SYNCER, needs_blocks=True)
def accepted_summary_is_synced(bench: Bench) -> None:
    """StateSummaryAccept returns a mode, and a static sync ends at the summary's block."""
    with bench.alone() as server, storage() as kept:
        summary = _last(bench, server)
        with bench.initialized(**kept) as host:
            chain = host.chain
            if not chain.state_sync.enabled():
                raise Skipped("state sync is not enabled: give --config")
            chain.begin_events()
            chain.set_state(State.STATE_SYNCING)
            chain.open_messages()
            chain.connect(Relay(_SERVING, _SYNCING, lambda: server.services.network))
            mode = chain.state_sync.accept(chain.state_sync.parse(summary.raw))
            if mode not in list(StateSyncMode):
                raise Violation(
                    "StateSummaryAccept returns an unknown mode",
                    sent=f"StateSummaryAccept of a summary at height {summary.height}",
                    got=f"mode {mode}",
                    node="it warns, and bootstraps from genesis instead",
                    cure="return 1 (skipped), 2 (static) or 3 (dynamic)",
                )
            if mode != StateSyncMode.STATIC:
                return
            if chain.next_event(_SYNC_TIMEOUT_S) is not Event.STATE_SYNC_FINISHED:
                raise Violation(
                    "a static sync does not report its end",
                    sent=f"StateSummaryAccept of a summary at height {summary.height}",
                    got=f"no STATE_SYNC_FINISHED for {_SYNC_TIMEOUT_S:.0f} s",
                    node="it waits forever, and the chain never starts",
                    cure="return STATE_SYNC_FINISHED from WaitForEvent until the next SetState",
                )
            with events_ended(host):
                waits = host.config.protocol.waits_for_events
                if waits and wait_for_event(host, _AGAIN_TIMEOUT_S) != Event.STATE_SYNC_FINISHED:
                    raise Violation(
                        "the end of a sync is reported only once",
                        sent="WaitForEvent again after STATE_SYNC_FINISHED",
                        got="something else, or nothing",
                        node="it may drop an event; then it waits forever, and the chain never starts",
                        cure="return STATE_SYNC_FINISHED from WaitForEvent until the next SetState",
                    )
            tip = chain.set_state(State.BOOTSTRAPPING)
            wanted = server.chain.get_block_id_at_height(summary.height)
            if tip.id != wanted:
                raise Violation(
                    "a sync does not move the last accepted block",
                    sent="SetState(BOOTSTRAPPING) after STATE_SYNC_FINISHED",
                    got=f"{tip!r}, not the summary's block {wanted}",
                    node="it bootstraps from genesis as if there had been no sync",
                    cure="return the summary's block as the last accepted one from SetState on",
                )
        with bench.initialized(**kept) as host:
            again = host.chain.last_accepted
            if again.id != wanted:
                raise Violation(
                    "a synced block is lost after a kill",
                    sent="SetState(BOOTSTRAPPING) after STATE_SYNC_FINISHED, a kill, and Initialize",
                    got=f"{again!r}, not the summary's block {wanted}",
                    node="it syncs again from the start",
                    cure="write the summary's block as the last accepted one, together with its state",
                )
