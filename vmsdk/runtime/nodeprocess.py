"""Which process above this one is the node that started it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from vmsdk.runtime.ancestors import Ancestor, ancestors, listeners
from vmsdk.runtime.release import VERSION_FLAG

NODE_NAMES = ("avalanchego", "metalgo")
# Neither is a node: an interpreter would only tell its own version, at the price of another start.
_INTERPRETERS = ("python", "pypy")


def find_node(engine: str) -> Ancestor | None:
    """The ancestor that is the node, None if none is certain to be: its executable will be run.

    A process is taken for the node by its file's name, which holds `avalanchego` or `metalgo`, or, since
    people rename files, by being the one that listens at *engine*, the address which the plugin was given
    (where the system tells: Linux). So no shell or service manager is ever run. Nor is a node that only tells
    its own version itself: a host that would start plugins even then would start them without end.
    """
    lineage = ancestors()
    node = _by_name(lineage) or _by_engine(lineage, engine)
    if node is None or VERSION_FLAG in node.arguments()[1:]:
        return None
    return node


def _by_name(lineage: Sequence[Ancestor]) -> Ancestor | None:
    for each in lineage:
        name = os.path.basename(each.path).lower()
        if any(known in name for known in NODE_NAMES):
            return each
    return None


def _by_engine(lineage: Sequence[Ancestor], engine: str) -> Ancestor | None:
    candidates = [
        each for each in lineage if not os.path.basename(each.path).lower().startswith(_INTERPRETERS)
    ]
    # The question is dear on a machine with many connections: not asked where nobody could be the answer.
    sockets = listeners(engine) if candidates else set()
    return next((each for each in candidates if sockets and each.holds(sockets)), None)
