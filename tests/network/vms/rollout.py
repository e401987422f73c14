"""The token chain in two versions, of which the second one has an upgrade."""

from __future__ import annotations

import sys
from pathlib import Path

from vmsdk import chain

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "tokens"))

from tokensvm import ACCOUNTS, Account, TokensVM, Transfer

TREASURY = bytes(19) + b"\xfe"


class TokensV1(TokensVM):
    name = "rollout"


class TokensV2(TokensVM):
    """From "fees-v2" on, fees are collected and no longer burned."""

    name = "rollout"
    version = "2.0.0"
    upgrades = ("fees-v2",)

    def execute(self, state: chain.State, tx: Transfer, block: chain.Header) -> None:
        super().execute(state, tx, block)
        if self.ctx.upgrades.is_active("fees-v2", block):
            accounts = ACCOUNTS.of(state)
            treasury = accounts[TREASURY]
            accounts[TREASURY] = Account(treasury.balance + tx.fee, treasury.nonce)
