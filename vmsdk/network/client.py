"""JSON-RPC calls to a node over HTTP."""

from __future__ import annotations

import http.client
import itertools
import json
import urllib.parse
from typing import Any

from vmsdk.network.errors import CallFailed, NodeUnreachable

CALL_TIMEOUT_S = 30.0
"""The node's limit (its flags `http-read-timeout`, `http-write-timeout`)."""

_REASON_CHARACTERS = 300


class JSONRPCClient:
    """Calls the methods at one URL. Each call opens a connection, so threads may share a client.

    ```python
    client = JSONRPCClient("http://127.0.0.1:9650/ext/info")
    client.call("info.isBootstrapped", chain="P")
    ```
    """

    def __init__(self, url: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        parts = urllib.parse.urlsplit(url)
        self.url = url
        self._address = parts.netloc
        self._path = parts.path or "/"
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)

    def call(self, method: str, /, *positional: object, **named: object) -> Any:
        """Return the call's result, decoded from JSON. Parameters are either positional or named.

        Raises `CallFailed` if the method returns an error, `NodeUnreachable` if there is no
        JSON-RPC response because the node is down, or serves nothing at the URL.
        """
        if positional and named:
            raise TypeError(f"{method}: JSON-RPC parameters are either positional or named, not both")
        params = list(positional) if positional else named
        call = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        response = self._post(json.dumps(call).encode())
        error = response.get("error")
        if error is None:
            return response.get("result")
        if not isinstance(error, dict):
            raise CallFailed(self.url, method, 0, str(error))
        raise CallFailed(self.url, method, error.get("code", 0), error.get("message", ""), error.get("data"))

    def _post(self, body: bytes) -> dict[str, Any]:
        status, text = request(self._address, "POST", self._path, body, self._timeout_s)
        try:
            response = json.loads(text)
        except ValueError:
            response = None
        if not isinstance(response, dict) or not ("result" in response or "error" in response):
            excerpt = text.decode(errors="replace").strip()[:_REASON_CHARACTERS]
            raise NodeUnreachable(self.url, f"HTTP {status}: {excerpt or 'an empty body'}")
        return response


def request(
    address: str, method: str, path: str, body: bytes | None = None, timeout_s: float = CALL_TIMEOUT_S
) -> tuple[int, bytes]:
    """Make one HTTP request, never through a proxy; return the status and the body.

    Raises `NodeUnreachable` if there is no connection, or no complete response in time.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NodeUnreachable(f"http://{address}{path}", str(error) or type(error).__name__) from error
    finally:
        connection.close()
