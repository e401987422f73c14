"""How the servers of the tests are reached: Unix sockets where there are any, or as
GRPC_VMSDK_TRANSPORT says, which plugins follow as well.

CI runs the tests that start plugins once with each transport.
"""

from __future__ import annotations

import atexit
from functools import cache

from vmsdk.address import Addresses


@cache
def addresses() -> Addresses:
    """Addresses for the servers of this process, removed at its end."""
    made = Addresses()
    atexit.register(made.close)
    return made
