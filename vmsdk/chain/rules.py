"""The rules of a chain, which its author writes."""

from __future__ import annotations

import types
from abc import abstractmethod
from typing import Any

from vmsdk.block import Interface
from vmsdk.chain.block import Header
from vmsdk.chain.state import State

_STAR_ARGUMENTS = 0x04
_GENERATOR = 0x20
"""`inspect.CO_VARARGS` and `CO_GENERATOR`, without the cost of importing `inspect`."""

_PARAMETERS = {
    "execute": ("state", "tx", "block"),
    "genesis": ("state", "data"),
    "check": ("tx",),
    "begin": ("state", "block"),
    "end": ("state", "block"),
}


class Rules(Interface):
    """The methods of a chain that must have the same result on all nodes.

    They run on several threads, and more than once for each transaction: they must depend on their
    arguments alone, and keep nothing on `self`.

    Raises `TypeError` for a subclass whose methods take other arguments, or are generators.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, parameters in _PARAMETERS.items():
            method = vars(cls).get(name)
            if not isinstance(method, types.FunctionType):
                continue
            code, given = method.__code__, len(parameters) + 1
            if code.co_flags & _GENERATOR:
                raise TypeError(
                    f"{cls.__name__}.{name} contains `yield`, so calling it runs nothing: write it as a "
                    "plain method"
                )
            least = code.co_argcount - len(method.__defaults__ or ())
            if given < least or (given > code.co_argcount and not code.co_flags & _STAR_ARGUMENTS):
                raise TypeError(
                    f"{cls.__name__}.{name} does not take the arguments that it is called with: write "
                    f"`def {name}(self, {', '.join(parameters)})`"
                )

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
