"""The node's hexadecimal texts, which end with a checksum."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmsdk.errors import InvalidEncoding
from vmsdk.network.pchain import from_checked_hex, to_checked_hex
from vmsdk.network.wallet import LOCAL_ADDRESS, UTXO

# What `platform.getUTXOs` of AvalancheGo 1.13.5 returns on a new local network.
GENESIS_UTXO = (
    "0x0000000000000000000000000000000000000000000000000000000000000000000000000000dbcf890f77f49b96857648b72b77f9f82937f28a"
    "68704af05da0dc12ba53f2db0000000700470de4df820000000000000000000000000001000000013cb7d3842e8cee6a0ebd09f1fe884f6861e1b2"
    "9c029dcc39"
)


def test_a_text_of_a_node_is_read_and_written() -> None:
    data = from_checked_hex(GENESIS_UTXO, "unspent output")
    utxo = UTXO.from_bytes(data)
    assert utxo is not None
    assert (utxo.amount, utxo.addresses) == (20_000_000 * 10**9, (LOCAL_ADDRESS,))
    assert to_checked_hex(data) == GENESIS_UTXO


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_what_is_written_is_read_back(data: bytes) -> None:
    assert from_checked_hex(to_checked_hex(data), "thing") == data


@pytest.mark.parametrize("text", ["", "0x", "0x00", "0x1234567", "0xzz", GENESIS_UTXO[:-1] + "8"])
def test_a_mistyped_text_is_reported(text: str) -> None:
    with pytest.raises(InvalidEncoding, match="thing"):
        from_checked_hex(text, "thing")
