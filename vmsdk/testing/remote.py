"""A VM's class as a plugin process, with a connection on which the test submits transactions and
sets the clock. The plugin proves with a key that it is the one that the test has started.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from vmsdk.chain import errors
from vmsdk.chain.determinism import load_module
from vmsdk.errors import Refused, VMError
from vmsdk.host.errors import ChainMisused, PluginGone
from vmsdk.serving import serve
from vmsdk.timestamp import set_clock
from vmsdk.vm import ChainVM

_START = f"""
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order["path"]
from {__name__} import main
main(order)
"""
_KEY_BYTES = 16
CONNECT_TIMEOUT_S = 10.0


class RemoteVM:
    """The test's end of the connection to a VM in a plugin process."""

    def __init__(self) -> None:
        self._key = os.urandom(_KEY_BYTES)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(CONNECT_TIMEOUT_S)
        self._line: Connection[Any, Any] | None = None
        self._lock = threading.Lock()

    def command(self, vm: Callable[[], ChainVM], protocol: int, time_ns: int | None) -> list[str]:
        """Return the command of a plugin with *vm*. Its clock is stopped at *time_ns*, or runs if
        that is None.

        Raises `ChainMisused` unless *vm* is at the top level of its module.
        """
        name = _name(vm)
        if not is_importable(vm):
            raise ChainMisused(
                f"a plugin can't import {name}: give a class or a function at the top level of a module, or "
                "run the test in this process (@pytest.mark.in_process)"
            )
        module = sys.modules[vm.__module__]
        order = {
            "path": [os.path.abspath(each) for each in sys.path],
            "module": vm.__module__,
            "file": getattr(module, "__file__", None),
            "vm": name,
            "protocol": protocol,
            "time_ns": time_ns,
            "port": self._listener.getsockname()[1],
            "key": self._key.hex(),
        }
        return [sys.executable, "-c", _START, json.dumps(order)]

    def accept(self) -> None:
        """Connect to the plugin. Call it after the handshake. Raises `TimeoutError`."""
        line = _connection(self._listener.accept()[0])
        if not hmac.compare_digest(line.recv_bytes(_KEY_BYTES), self._key):
            raise ChainMisused("another process has connected in place of the plugin")
        self._line = line

    def call(self, method: str, argument: Any) -> Any:
        """Call `submit` or `set_time` of the VM. Raises what it raises."""
        with self._lock:
            try:
                if self._line is None:
                    raise EOFError
                self._line.send((method, argument))
                kind, result = self._line.recv()
            except (EOFError, OSError):
                raise PluginGone(method) from None
        if kind == "result":
            return result
        raise _error(kind, result)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._line is not None:
            self._line.close()
        self._listener.close()


def is_importable(vm: object) -> bool:
    """Whether another process can import *vm*: a class or function at the top level of a module."""
    return "<" not in _name(vm)


def _name(vm: object) -> str:
    return str(getattr(vm, "__qualname__", repr(vm)))


def _error(kind: str, text: str) -> Exception:
    """Return the exception that the VM raised: of the same class if it refuses a transaction."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, Refused):
        return found(text)
    return Refused(text) if kind == "Refused" else VMError(f"{kind}: {text}")


def main(order: dict[str, Any]) -> None:
    """In the plugin's process: serve the VM that *order* names, and the connection to the test."""
    if order["time_ns"] is not None:
        _set_time(order["time_ns"])
    found: Any = load_module(order["module"], order["file"])
    for name in order["vm"].split("."):
        found = getattr(found, name)
    vm = found()
    threading.Thread(target=_listen, args=(order, vm), name="vmsdk-testing", daemon=True).start()
    serve(vm, protocol_version=order["protocol"], ask_parent=False)


def _listen(order: dict[str, Any], vm: Any) -> None:
    line = _connection(socket.create_connection(("127.0.0.1", order["port"])))
    line.send_bytes(bytes.fromhex(order["key"]))
    while True:
        try:
            method, argument = line.recv()
        except (EOFError, OSError):
            return
        try:
            result = (_set_time if method == "set_time" else vm.submit)(argument)
            line.send(("result", result))
        except Exception as error:  # noqa: BLE001 - raised in the test
            line.send((type(error).__name__, str(error)))


def _connection(connected: socket.socket) -> Connection[Any, Any]:
    connected.settimeout(None)
    return Connection(connected.detach())


def _set_time(moment: int) -> None:
    set_clock(lambda: moment)
