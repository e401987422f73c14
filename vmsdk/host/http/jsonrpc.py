"""JSON-RPC 2.0 by POST, for a node's own services."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from vmsdk.errors import VMError
from vmsdk.host.http.endpoint import Endpoint, EndpointRequest, EndpointResponse
from vmsdk.jsontext import decode, depth

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000

MAX_DEPTH = 128
"""How deeply a request's arrays and objects may be nested, because errors quote parts of it."""

_log = logging.getLogger(__name__)

Method: TypeAlias = Callable[[Any], Any]
"""Takes the parameters as received (None without any); returns the result. May raise `VMError`."""
Find: TypeAlias = Callable[[str], Method]
"""Returns the method of a name. Raises `RPCError`."""

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json; charset=utf-8"


class RPCError(Exception):
    """Becomes the error of a response."""

    def __init__(self, message: str, code: int = SERVER_ERROR) -> None:
        self.code = code
        super().__init__(message)


def endpoint(find: Find) -> Endpoint:
    """Make an endpoint of the methods that *find* returns.

    The texts are those of github.com/gorilla/rpc/v2, which nodes use.
    """

    def respond(request: EndpointRequest) -> EndpointResponse:
        if request.method != "POST":
            return EndpointResponse(405, _TEXT, f"rpc: POST method required, received {request.method}")
        content_type = request.content_type.partition(";")[0].strip()
        if content_type.lower() != "application/json":
            return EndpointResponse(415, _TEXT, f"rpc: unrecognized Content-Type: {content_type}")
        request_id: Any = None
        try:
            try:
                call = decode(request.body)
            except (ValueError, RecursionError) as error:
                raise RPCError(str(error), PARSE_ERROR) from None
            if not isinstance(call, dict):
                raise RPCError("a request is a JSON object (batches are not supported)", PARSE_ERROR)
            if depth(call) > MAX_DEPTH:
                raise RPCError(f"nested more than {MAX_DEPTH} deep", PARSE_ERROR)
            request_id = call.get("id")
            if call.get("jsonrpc") != "2.0":
                raise RPCError("jsonrpc must be 2.0", INVALID_REQUEST)
            result = find(str(call.get("method", "")))(call.get("params"))
            outcome: dict[str, Any] = {"result": result}
        except RPCError as error:
            outcome = _failure(error.code, str(error))
        except VMError as error:
            outcome = _failure(SERVER_ERROR, str(error))
        except Exception as error:  # noqa: BLE001 - the client gets a response in any case
            _log.exception("a method failed: a bug in the development host")
            outcome = _failure(INTERNAL_ERROR, repr(error))
        if request_id is None and outcome.get("error", {}).get("code") != PARSE_ERROR:
            return EndpointResponse(200, _JSON, "")  # A notification.
        return EndpointResponse(
            200, _JSON, json.dumps({"jsonrpc": "2.0", **outcome, "id": request_id}) + "\n"
        )

    return respond


def _failure(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "data": None}}


def service(name: str, methods: Mapping[str, Callable[[Mapping[str, Any]], Any]]) -> Endpoint:
    """Make a node's service, such as `info`, whose methods get one object of parameters.

    Source: utils/json/codec.go.
    """

    def find(text: str) -> Method:
        own, dot, method = text.partition(".")
        if not dot or "." in method:
            raise RPCError(f'rpc: service/method request ill-formed: "{text}"')
        if method[:1].isupper():
            raise RPCError("method must start with a non-uppercase letter")
        go_name = f"{own}.{method[:1].upper()}{method[1:]}"
        if own != name:
            raise RPCError(f'rpc: can\'t find service "{go_name}"')
        if method not in methods:
            raise RPCError(f'rpc: can\'t find method "{go_name}"')

        def call(params: Any) -> Any:
            if isinstance(params, list) and len(params) < 2:
                params = params[0] if params else None
            if not isinstance(params, (dict, type(None))):
                raise RPCError(
                    "couldn't unmarshal an argument. Ensure arguments are valid and properly formatted. See "
                    "documentation for example calls"
                )
            return methods[method](params or {})

        return call

    return endpoint(find)
