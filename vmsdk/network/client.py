"""JSON-RPC calls to a node over HTTP."""

from __future__ import annotations

import http.client
import itertools
import json
import urllib.parse
from typing import Any

from vmsdk.network.errors import CallFailed, NodeUnreachable

CALL_TIMEOUT_S = 30.0
"""The node's own limit for reading a request and for writing its answer (its flags `http-read-timeout`, `http-write-timeout`)."""

_REASON_CHARACTERS = 300


class JSONRPCClient:
    """Calls the methods served at one URL. Each call is a connection of its own, so threads may share a client.

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
        """Returns the call's result, as JSON gives it. The parameters are either positional or named.

        Raises:
            CallFailed: the method answered with an error.
            NodeUnreachable: nobody answered, or not in JSON-RPC: a node that is down, or a URL that nothing is served at.
            TypeError: both kinds of parameters were given.
        """
        if positional and named:
            raise TypeError(f"{method}: JSON-RPC parameters are either positional or named, not both")
        request = {
            "jsonrpc": "2.0",
            "id": next(self._ids),
            "method": method,
            "params": list(positional) if positional else named,
        }
        answer = self._post(json.dumps(request).encode())
        if answer.get("error") is not None:
            error = answer["error"]
            if not isinstance(error, dict):
                raise CallFailed(self.url, method, 0, str(error))
            raise CallFailed(
                self.url, method, error.get("code", 0), error.get("message", ""), error.get("data")
            )
        return answer.get("result")

    def _post(self, body: bytes) -> dict[str, Any]:
        status, text = request(self._address, "POST", self._path, body, self._timeout_s)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            excerpt = text.decode(errors="replace").strip()[:_REASON_CHARACTERS]
            raise NodeUnreachable(self.url, f"HTTP {status}: {excerpt or 'an empty answer'}")
        return answer


def request(
    address: str, method: str, path: str, body: bytes | None = None, timeout_s: float = CALL_TIMEOUT_S
) -> tuple[int, bytes]:
    """Makes one HTTP request, never through a proxy; returns the status and the whole body.

    Raises:
        NodeUnreachable: no connection, or no whole answer in time.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NodeUnreachable(f"http://{address}{path}", str(error) or type(error).__name__) from error
    finally:
        connection.close()
