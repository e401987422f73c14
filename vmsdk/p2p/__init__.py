"""Messages between the VMs of one chain, in the framing of AvalancheGo's own `network/p2p` library.

A message starts with the ID of its handler, so several protocols share one chain. VMs in Go that
use the library understand these messages, and the reverse.

    class MyVM(p2p.Networked, vmsdk.ChainVM):
        def initialize(self, ctx, genesis, upgrade, config):
            self.network.add_handler(100, Greeter())
"""

from __future__ import annotations

from vmsdk.p2p.gossip import Gossip, Items
from vmsdk.p2p.handler import SIGNATURE_REQUEST, TX_GOSSIP, Handler, ValidatorsOnly
from vmsdk.p2p.network import Client, Network, Networked
from vmsdk.p2p.peers import Peers, Validators
from vmsdk.p2p.throttler import SlidingWindow, Throttled

__all__ = [
    "SIGNATURE_REQUEST",
    "TX_GOSSIP",
    "Client",
    "Gossip",
    "Handler",
    "Items",
    "Network",
    "Networked",
    "Peers",
    "SlidingWindow",
    "Throttled",
    "Validators",
    "ValidatorsOnly",
]
