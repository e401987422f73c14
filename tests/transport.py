"""How the plugins of the tests are reached: Unix sockets where there are any, or as
VMSDK_TEST_TRANSPORT says.

CI runs the tests that start plugins once with each transport.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import cast

from vmsdk.address import TRANSPORTS, Addresses, Transport

TRANSPORT = cast(Transport, os.environ.get("VMSDK_TEST_TRANSPORT", "auto"))
assert TRANSPORT in TRANSPORTS, f"VMSDK_TEST_TRANSPORT is one of {TRANSPORTS}"


@cache
def addresses() -> Addresses:
    """Addresses for the servers of this process, removed at its end."""
    made = Addresses(TRANSPORT)
    atexit.register(made.close)
    return made
