"""The refusal of a handshake, as a person reads it."""

from __future__ import annotations

from vmsdk.protocol import NEWEST, OLDEST
from vmsdk.runtime.handshake import refused

INSTALL = "vmsdk install /opt/vm.py --name vm --plugin-dir /plugins"


def refusal(theirs: int) -> str:
    reason = (
        "RPCChainVM protocol version mismatch between AvalancheGo and Virtual Machine plugin. "
        f"AvalancheGo version v1.13.5 implements RPCChainVM protocol version {theirs}. The VM located at /p "
        f"implements RPCChainVM protocol version {NEWEST}."
    )
    return str(refused(NEWEST, reason, source="the default", install_command=INSTALL))


def test_the_refusal_has_both_versions_where_ours_comes_from_and_the_command_for_theirs() -> None:
    assert refusal(OLDEST) == (
        f"the node speaks protocol {OLDEST}, this VM was started with {NEWEST} (the default). Install it "
        f"for this node: {INSTALL} --protocol {OLDEST}"
    )


def test_a_node_that_is_too_new_for_vmsdk_needs_a_newer_vmsdk() -> None:
    text = refusal(NEWEST + 1)
    assert f"the node speaks protocol {NEWEST + 1}" in text
    assert "pip install --upgrade vmsdk" in text
    assert "--protocol" not in text


def test_a_refusal_for_another_reason_gives_that_reason() -> None:
    assert "something else" in str(refused(45, "something else", source="", install_command=INSTALL))
