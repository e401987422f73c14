"""What a plugin says when it is run with `--version` or `--version-json`, by which tools learn its protocol.

In the form of a node's own answer and with its names (`application`, `rpcchainvm`); `oldest` and `newest` are
the protocols that it can speak.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

from vmsdk._version import __version__
from vmsdk.protocol import NEWEST, OLDEST, protocol
from vmsdk.vm import ChainVM

TEXT_FLAG = "--version"
JSON_FLAG = "--version-json"


def say(arguments: Sequence[str], load: Callable[[], ChainVM], protocol_version: int | None) -> bool:
    """Print the version of the VM that *load* gives, if *arguments* are those of a process that should.

    Whether they were. *protocol_version* is the one that the plugin would speak whatever the node says; by
    default the newest, which it speaks if the node says nothing. Raises `UnsupportedProtocol`, and what
    *load* raises.
    """
    if list(arguments) not in ([TEXT_FLAG], [JSON_FLAG]):
        return False
    spoken = protocol(NEWEST if protocol_version is None else protocol_version)
    with redirect_stdout(sys.stderr):  # a tool reads the answer: what the author's code prints is not it
        vm = load()
    entries: dict[str, object] = {
        "rpcchainvm": spoken.version,
        "oldest": OLDEST,
        "newest": NEWEST,
        "vmsdk": __version__,
        "python": platform.python_version(),
    }
    application = f"{vm.name}/{vm.version}"
    if arguments[0] == JSON_FLAG:
        print(json.dumps({"application": application, **entries}, indent=2))
    else:
        print(f"{application} [{', '.join(f'{name}={value}' for name, value in entries.items())}]")
    return True
