"""The rules of a chain, which its author writes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from vmsdk.chain.block import Header
from vmsdk.chain.state import State
from vmsdk.interface import Interface


class Rules(Interface):
    """The methods of a chain that must have the same result on all nodes.

    They run on several threads, and more than once for each transaction: they must depend on their
    arguments alone, and keep nothing on `self`.
    """

    @abstractmethod
    def execute(self, state: State, tx: Any, block: Header) -> bytes | None:
        """Apply one transaction to *state*. The bytes that it returns, if any, go into its receipt.

        Raise `Invalid` if it breaks a rule: no block contains it then, and its changes are dropped.
        """

    def genesis(self, state: State, data: bytes) -> None:
        """Fill the state of a new chain from the genesis *data*. Does nothing by default."""

    def check(self, tx: Any) -> None:
        """Check what needs no state, before `execute` and only once. Raise `Invalid` to refuse."""

    def begin(self, state: State, block: Header) -> None:
        """Called before the first transaction of each block."""

    def end(self, state: State, block: Header) -> None:
        """Called after the last transaction of each block."""
