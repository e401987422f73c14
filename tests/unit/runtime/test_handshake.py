"""The refusal of a handshake, as a person reads it."""

from __future__ import annotations

from vmsdk.protocol import NEWEST, OLDEST
from vmsdk.runtime.handshake import HandshakeRefused

INSTALL = "vmsdk install /opt/vm.py --name vm --plugin-dir /plugins"


def test_a_node_of_another_version_is_cured_by_installing_for_it() -> None:
    refused = HandshakeRefused(NEWEST, OLDEST, "mismatch", INSTALL)
    assert (refused.ours, refused.theirs) == (NEWEST, OLDEST)
    assert str(refused).endswith(f"{INSTALL} --protocol {OLDEST}")


def test_a_node_that_is_too_new_for_vmsdk_is_cured_by_a_newer_vmsdk() -> None:
    text = str(HandshakeRefused(NEWEST, NEWEST + 1, "mismatch", INSTALL))
    assert f"the node speaks protocol {NEWEST + 1}" in text
    assert "pip install --upgrade vmsdk" in text
    assert "--protocol" not in text


def test_a_refusal_for_another_reason_gives_that_reason() -> None:
    assert "something else" in str(HandshakeRefused(NEWEST, None, "something else", INSTALL))
