"""Starting several nodes, so that they find each other and their plugins are not too slow for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from vmsdk.network.errors import ChainFailed, PluginNotRegistered
from vmsdk.network.launch import Launch
from vmsdk.network.node import Node


class Startup:
    """Starts nodes of a network, and tells `progress` what it does."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def launch(self, nodes: list[Node], timeout_s: float) -> list[tuple[Node, Launch]]:
        """Starts the nodes, and waits until their P-chains work. The first comes alone: the others bootstrap from it.

        Raises:
            PluginNotRegistered, PortTaken, NodeDied, NodeNotReady: one of them failed.
        """
        if not nodes:
            return []
        self._progress(f"starting {_count(nodes)}")
        first, *others = nodes
        launches = [(first, self._registered(first, first.settle(first.spawn(), timeout_s), timeout_s))]
        # Not more at once than there are processors: every plugin has but 5 s to answer its node.
        wave = os.cpu_count() or 1
        for start in range(0, len(others), wave):
            spawned = [(node, node.spawn()) for node in others[start : start + wave]]
            settled = [(node, node.settle(launch, timeout_s)) for node, launch in spawned]
            launches += [(node, self._registered(node, launch, timeout_s)) for node, launch in settled]
        return launches

    def _registered(self, node: Node, launch: Launch, timeout_s: float) -> Launch:
        """Waits until the node has registered its plugins and its P-chain works."""
        try:
            launch.await_primary_network(time.monotonic() + timeout_s)
        except PluginNotRegistered as error:
            if not error.plugin_was_slow:
                raise
            launch = self._once_more(node, timeout_s)
        return launch

    def await_chains(self, launches: list[tuple[Node, Launch]], timeout_s: float) -> None:
        """Waits until the network's chains take work on the nodes that were launched.

        Raises:
            ChainFailed, NodeDied: on one of them they do not.
        """
        self._progress(f"waiting for the chain on {_count(launches)}")
        for node, launch in launches:
            try:
                node.await_chains(launch, timeout_s)
            except ChainFailed as error:
                if not error.plugin_was_slow:
                    raise
                node.await_chains(self._once_more(node, timeout_s), timeout_s)

    def _once_more(self, node: Node, timeout_s: float) -> Launch:
        """Starts the node a second time, as it does not do so itself for a plugin that was too slow on a busy machine."""
        self._progress(
            f"the plugin was not ready in the 5 s that {node.name} waits: starting {node.name} again"
        )
        node.stop()
        launch = node.settle(node.spawn(), timeout_s)
        launch.await_primary_network(time.monotonic() + timeout_s)
        return launch


def _count(nodes: Sequence[object]) -> str:
    return f"{len(nodes)} nodes" if len(nodes) != 1 else "1 node"
