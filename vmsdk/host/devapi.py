"""`/ext/dev`: the methods of `Control` as JSON-RPC, such as `dev_mine` with the parameters [3]."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from vmsdk import bls
from vmsdk.errors import VMError
from vmsdk.host.appsender import SentGossip, SentRequest
from vmsdk.host.block import Block
from vmsdk.host.control import DEFAULT_WEIGHT, Control
from vmsdk.host.http import jsonrpc
from vmsdk.host.http.endpoint import Endpoint, EndpointRequest, EndpointResponse
from vmsdk.host.http.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Method, RPCError
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import CurrentValidator

PATH = "/ext/dev"
_HEX = "bytes in hexadecimal, such as 0x1234"

_METHODS: Mapping[str, Callable[..., Any]] = {
    "dev_mine": Control.mine,
    "dev_setAutomine": Control.set_automine,
    "dev_getAutomine": Control.get_automine,
    "dev_setIntervalMining": Control.set_interval_mining,
    "dev_getIntervalMining": Control.get_interval_mining,
    "dev_propose": Control.propose,
    "dev_undecided": Control.undecided,
    "dev_preference": Control.preference,
    "dev_reorg": Control.reorg,
    "dev_accept": Control.accept,
    "dev_rejectNext": Control.reject_next,
    "dev_increaseTime": Control.increase_time,
    "dev_setTime": Control.set_time,
    "dev_getTime": Control.get_time,
    "dev_snapshot": Control.snapshot,
    "dev_revert": Control.revert,
    "dev_kill": Control.kill,
    "dev_restart": Control.restart,
    "dev_failDatabase": Control.fail_database,
    "dev_setValidators": Control.set_validators,
    "dev_setPChainHeight": Control.set_p_chain_height,
    "dev_connectPeer": Control.connect_peer,
    "dev_disconnectPeer": Control.disconnect_peer,
    "dev_appGossip": Control.app_gossip,
    "dev_appRequest": Control.app_request,
    "dev_sentMessages": Control.sent_messages,
}


def endpoint(control: Control) -> Endpoint:
    """Make the endpoint. It refuses web pages, since any page could call it."""

    def find(name: str) -> Method:
        method = _METHODS.get(name)
        if method is None:
            meant = f"dev_{name.partition('_')[2]}"  # for anvil's evm_mine, for instance
            use = meant if meant in _METHODS else ", ".join(_METHODS)
            raise RPCError(f"there is no method {name!r}: use {use}", METHOD_NOT_FOUND)
        return lambda params: _call(control, name, method, params)

    respond = jsonrpc.endpoint(find)

    def guarded(request: EndpointRequest) -> EndpointResponse:
        if request.origin:
            return EndpointResponse(403, "text/plain; charset=utf-8", f"{PATH} is not for web pages")
        return respond(request)

    return guarded


def _call(control: Control, name: str, method: Callable[..., Any], params: Any) -> Any:
    signature = inspect.signature(method)
    try:
        if isinstance(params, dict):
            bound = signature.bind(control, **params)
        elif isinstance(params, (list, type(None))):
            bound = signature.bind(control, *(params or ()))
        else:
            raise TypeError("params must be an array or an object")
        hints = get_type_hints(method)
        for parameter, value in list(bound.arguments.items())[1:]:
            bound.arguments[parameter] = _read(parameter, value, hints[parameter])
    except (TypeError, ValueError, VMError) as error:
        usage = ", ".join(list(signature.parameters)[1:])
        raise RPCError(f"{error}; the parameters are ({usage})", INVALID_PARAMS) from None
    return _written(name, method(*bound.args, **bound.kwargs))


def _read(name: str, value: Any, kind: Any) -> Any:
    """Convert a value of JSON. Raises `ValueError` or `VMError`."""
    # `X | None` is a `types.UnionType` before Python 3.14, and a `typing.Union` from then on.
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    wanted = kinds[0]
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is int and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return int(value, 0) if isinstance(value, str) else value
        except ValueError:
            pass
    if wanted is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if wanted is str and isinstance(value, str):
        return value
    if wanted is bytes and isinstance(value, str):
        return _bytes(name, value)
    if wanted in (ID, NodeID) and isinstance(value, str):
        try:
            return wanted.from_string(value)
        except VMError as error:
            raise ValueError(f"{name}: {error}") from None
    if get_origin(wanted) is Sequence and isinstance(value, list):
        return [_validator(each) for each in value]
    words = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a string",
        bytes: _HEX,
        ID: "a block ID",
        NodeID: "a node ID, such as NodeID-…",
    }
    raise ValueError(f"{name} must be {words.get(wanted, 'an array of validators')}, not {value!r:.100}")


def _bytes(name: str, value: str) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raise ValueError(f"{name} must be {_HEX}, not {value!r:.100}") from None


def _validator(value: Any) -> CurrentValidator:
    """Read `{"nodeID": "NodeID-…", "weight": 1, "publicKey": "0x…"}`; only the ID is required."""
    if not isinstance(value, dict) or value.keys() - {"nodeID", "weight", "publicKey"}:
        raise ValueError(f"a validator must be an object of nodeID, weight and publicKey, not {value!r:.100}")
    key = _bytes("publicKey", _read("publicKey", value.get("publicKey") or "", str))
    weight = _read("weight", value.get("weight", DEFAULT_WEIGHT), int)
    if not 0 < weight < 2**64:
        raise ValueError(f"weight must be a number from 1 to {2**64 - 1}, not {weight}")
    if len(key) not in (0, bls.PUBLIC_KEY_BYTES, bls.UNCOMPRESSED_PUBLIC_KEY_BYTES):
        raise ValueError(f"publicKey must have 48 bytes, or 96 if it is not compressed, not {len(key)}")
    return CurrentValidator(
        _read("nodeID", value.get("nodeID"), NodeID),
        weight,
        bls.uncompress(key) if len(key) == bls.PUBLIC_KEY_BYTES else key,
    )


def _written(name: str, result: Any) -> Any:
    """Convert a result to JSON."""
    if name == "dev_snapshot":
        return hex(result)  # As anvil does.
    if isinstance(result, tuple):
        accepted, rejected = result
        return {"accepted": _written("", accepted), "rejected": _written("", rejected)}
    if isinstance(result, list):
        return [_written("", each) for each in result]
    if isinstance(result, Block):
        return {
            "id": str(result.id),
            "parentID": str(result.parent_id),
            "height": result.height,
            "timestamp": result.timestamp.seconds,
        }
    if isinstance(result, SentGossip):
        return {"kind": "gossip", "message": _written("", result.message)}
    if isinstance(result, SentRequest):
        return {
            "kind": "request",
            "to": [str(party) for party in result.parties],
            "message": _written("", result.request),
        }
    if isinstance(result, bytes):  # Among them IDs.
        return str(result) if isinstance(result, (ID, NodeID)) else "0x" + result.hex()
    return result
