"""How a chain under test gets its transactions, which only its author can make, over HTTP."""

from __future__ import annotations

import itertools
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmsdk.errors import MissingExtra, VMError

if TYPE_CHECKING:
    import httpx

    from vmsdk.host.chain import Chain
    from vmsdk.host.http.front import HTTPFront

_TIMEOUT_S = 20.0
# Replaced in the body of a request by a different number each time.
_NUMBER = "{n}"
# JSON-RPC's code for a bug in the server.
_INTERNAL_ERROR = -32603
_UNAVAILABLE = 503

Issue = Callable[["httpx.Client"], object]
"""Sends one transaction. The client's base URL is that of the chain."""


class HookFailed(VMError):
    """The user's hook, not the plugin, is at fault."""


class Refused(HookFailed):
    """The chain refused a transaction, and this is not an error of its server."""


class Hook:
    """Makes an `Issue` for each chain under test. Use `from_file` or `from_request`."""

    def __init__(self, name: str, load: Callable[[], Issue]) -> None:
        self.name = name
        self.load = load
        """Returns an `Issue` that shares no state with others. Raises `HookFailed`."""

    @classmethod
    def from_file(cls, path: Path) -> Hook:
        """The function ``issue(client)`` of a Python file. Raises `HookFailed`."""
        hook = cls(str(path), lambda: _load(path))
        hook.load()
        return hook

    @classmethod
    def from_request(cls, text: str) -> Hook:
        """A path and a JSON body, such as ``/rpc {"method": "write", "params": ["{n}"]}``.

        The body is posted with ``{n}`` replaced by a different number each time. The path is below
        the chain's, and may be empty. Raises `HookFailed`.
        """
        path, _, body = text.partition(" ") if not text.startswith("{") else ("", "", text)
        if not body.strip() or (path and not path.startswith("/")):
            raise HookFailed(f"--request {text!r}: write it as 'PATH JSON', with a path such as / or /rpc")
        numbers = itertools.count(1)

        def issue(client: httpx.Client) -> None:
            content = body.replace(_NUMBER, str(next(numbers)))
            response = client.post(path, content=content, headers={"content-type": "application/json"})
            error = _error(response)
            if response.status_code >= 400 or error is not None:
                code = error.get("code") if isinstance(error, dict) else None
                is_fault = is_server_error(response.status_code) or code == _INTERNAL_ERROR
                raise (HookFailed if is_fault else Refused)(
                    f"the chain refused POST {path or '/'} {content} with status {response.status_code}: "
                    f"{response.text[:500]}"
                )

        return cls("--request", lambda: issue)


def is_server_error(status: int) -> bool:
    """Whether an HTTP status means an error of the server. 503 does not: the server may be full."""
    return status >= 500 and status != _UNAVAILABLE


def serve(chain: Chain) -> HTTPFront:
    """Start a server for the handlers of *chain*, as on a node. Raises `MissingExtra`."""
    try:
        from vmsdk.host.http.front import HTTPFront
    except ModuleNotFoundError as error:
        raise MissingExtra("HTTP", package=error.name or "h11", extra="testing") from None

    config = chain.config
    front = HTTPFront(config.protocol, config.identity.node_id)
    front.start()
    front.add_chain(config.chain_id, (), chain.handlers, chain.http_handler)
    front.set_normal_op(config.chain_id, True)
    return front


def client(url: str, *, has_slash: bool) -> httpx.Client:
    """Return a client for the chain at *url*. Raises `MissingExtra` without httpx.

    httpx requests "/" for "", which is another handler on a node. Unless the chain has a handler at
    "/" (*has_slash*), the slash is removed.
    """
    try:
        import httpx
    except ModuleNotFoundError:
        raise MissingExtra("a hook", package="httpx", extra="testing") from None

    def remove_slash(request: httpx.Request) -> None:
        if str(request.url) == f"{url}/":
            request.url = httpx.URL(url)

    return httpx.Client(
        base_url=url,
        timeout=_TIMEOUT_S,
        trust_env=False,  # a proxy in the environment is not meant for 127.0.0.1
        event_hooks={"request": [] if has_slash else [remove_slash]},
    )


def _load(path: Path) -> Issue:
    if not path.is_file():
        raise HookFailed(f"there is no hook file {path}")
    try:
        issue = runpy.run_path(str(path)).get("issue")
    except Exception as error:
        raise HookFailed(f"the hook {path} can't be loaded: {type(error).__name__}: {error}") from error
    if not callable(issue):
        raise HookFailed(f"the hook {path} has no function issue(client): define it")
    return issue  # type: ignore[no-any-return]


def _error(response: Any) -> Any:
    """Return the error in a JSON-RPC response, or None."""
    try:
        value = response.json()
    except ValueError:
        return None
    return value.get("error") if isinstance(value, dict) else None
