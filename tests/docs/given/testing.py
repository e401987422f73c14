"""The VM that docs/testing.md tests."""

from typing import Any

from vmsdk import chain as rules


class TokensVM(rules.Chain):
    def execute(self, state: rules.State, tx: bytes, block: rules.Header) -> None: ...


chain: Any = None
transfer: Any = None
tx: Any = None
BOB = EVE = ""
