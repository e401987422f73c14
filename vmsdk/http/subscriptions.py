"""The methods by which clients subscribe and unsubscribe."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias
from weakref import WeakSet

from vmsdk.http.connection import Connection, Subscription
from vmsdk.http.rpcmessage import INVALID_PARAMS, JSONRPCError
from vmsdk.http.rpcmethod import RPCMethod
from vmsdk.http.rpctypes import quoted

Source: TypeAlias = "Callable[..., AsyncIterator[Any]] | None"


class Subscriptions:
    """`subscribe` and `unsubscribe` for the kinds of subscriptions that a service offers. Each kind
    has a source: a function that takes the client's parameters and returns an async iterator, such
    as an async generator. Subscribers of a kind without a source get what `publish` sends:

        heads = feed.subscription(header)
        events = Subscriptions({"newHeads": heads, "newPendingTransactions": None})
        methods = {"eth_subscribe": events.subscribe, "eth_unsubscribe": events.unsubscribe}
        api = JSONRPC({"eth": service, **methods}, separator="_")

    Clients get `{"method": "eth_subscription", "params": {"subscription": "0x…", "result": …}}`;
    *method* is another name for these notifications.
    """

    def __init__(self, kinds: Mapping[str, Source], *, method: str = "eth_subscription") -> None:
        self._sources: dict[str, RPCMethod | None] = {}
        self._published: dict[str, WeakSet[Subscription]] = {}
        self._lock = threading.Lock()
        self._method = method
        for kind, source in kinds.items():
            if inspect.iscoroutinefunction(source):
                raise TypeError(
                    f"Subscriptions: the source of {kind!r} is a coroutine function: let it `yield`, or "
                    "return an async iterator from a plain function"
                )
            self._sources[kind] = None if source is None else RPCMethod(kind, source)
            if source is None:
                self._published[kind] = WeakSet()

    def subscribe(self, connection: Connection, kind: str, *params: Any) -> Subscription:
        """Begin a subscription; the client gets its ID."""
        if kind not in self._sources:
            known = ", ".join(self._sources)
            raise JSONRPCError(INVALID_PARAMS, f"unknown subscription {quoted(kind)}; there are: {known}")
        source = self._sources[kind]
        if source is not None:
            args, named = source.bind(list(params))
            return connection.subscribe(source.function(*args, **named), method=self._method)
        if any(params):  # web3.py sends a false flag with newPendingTransactions.
            raise JSONRPCError(INVALID_PARAMS, f"invalid params: {kind} takes no parameters")
        subscription = connection.subscribe(method=self._method)
        with self._lock:
            self._published[kind].add(subscription)
        return subscription

    def unsubscribe(self, connection: Connection, subscription: str) -> bool:
        """End a subscription; False if this connection has none with this ID."""
        return connection.unsubscribe(subscription)

    def publish(self, kind: str, result: Any) -> None:
        """Send *result* to the subscribers of a kind without a source. Thread-safe."""
        if kind not in self._published:
            known = ", ".join(self._published) or "none"
            raise ValueError(f"{kind!r} is not a subscription without a source; those are: {known}")
        with self._lock:
            subscribers = list(self._published[kind])
        for subscription in subscribers:
            subscription.send(result)
