"""Messages between the VMs of a chain, in the format of AvalancheGo's `network/p2p` library.

A message begins with the ID of its handler, so that a chain can use several protocols. VMs in Go
that use the library understand these messages, and vice versa.

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
