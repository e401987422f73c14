"""`vmsdk dev` runs a shadow of the VM, and reports the first block at which the two differ."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .devcommand import TIMEOUT_S, Dev, call
from .plugin import PLUGINS

pytestmark = pytest.mark.slow

SOURCES = (
    "a clock",
    "the local time",
    "a hash",
    "a set's order",
    "a dict from a set",
    "an address",
    "a float's text",
    "a locale",
    "a directory",
    "the environment",
    "a process ID",
    "gossip",
)


def meet(dev: Dev) -> str:
    """Wait until the shadow is a peer; returns the chain's URL."""
    url = dev.url()
    deadline = time.monotonic() + TIMEOUT_S
    while call(url.partition("/bc/")[0] + "/info", "info.peers")["numPeers"] == "0":
        assert time.monotonic() < deadline, dev.output
    return url


@pytest.mark.parametrize("source", SOURCES)
def test_rules_that_depend_on_the_machine_are_found_at_their_first_block(source: str, tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickle.py", "--genesis", source, folder=tmp_path) as dev:
        url = meet(dev) if source == "gossip" else dev.url()
        call(url, "write", text="one")
        call(url, "write", text="two")
        found = dev.line(r"block (\d+), \S+, is refused by the VM's shadow.*(nondeterminism|locale setting)")
        assert found[1] == "1"
        dev.interrupt()
        assert dev.wait() == 0
    assert dev.output.count("the VM's shadow") == 1


def test_rules_that_depend_on_what_a_restart_loses_are_found_at_the_second_block(tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickle.py", "--genesis", "what a restart loses", folder=tmp_path) as dev:
        url = dev.url()
        call(url, "write", text="one")
        dev.line(r"block +1\b")
        call(url, "write", text="two")
        dev.line(r"block 2, \S+, is refused by the VM's shadow, .*, restarted after block 1: ")
        dev.interrupt()
        assert dev.wait() == 0


# A shadow that hangs is reported after a minute: here sooner.
SOON = """
import sys
from vmsdk.host import shadow
from vmsdk.cli import main
shadow.BLOCK_TIMEOUT_S = 10.0
sys.exit(main(["dev", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("an end elsewhere", r"block 1, \S+, stops the VM's shadow, .* \(exit status 3\)"),
        (
            "a hang elsewhere",
            r"block 1, \S+, hangs in the VM's shadow, .*: BlockVerify .* in _hang_elsewhere",
        ),
    ],
)
def test_a_vm_that_fails_only_elsewhere_is_reported_and_goes_on_here(
    source: str, found: str, tmp_path: Path
) -> None:
    with Dev(
        PLUGINS / "fickle.py",
        *("--genesis", source),
        folder=tmp_path,
        command=("-c", SOON),
        environment={"GRPC_VMSDK_SLOW_CALL_S": "0.5"},  # to hear from the watchdog well before
    ) as dev:
        url = dev.url()
        call(url, "write", text="one")
        dev.line(found)
        call(url, "write", text="two")
        dev.line(r"block +2\b")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_slow_shadow_is_not_a_difference(tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickle.py", "--genesis", "a slow machine", folder=tmp_path) as dev:
        url = meet(dev)
        for number in range(3):
            call(url, "write", text=str(number))
        dev.line(r"block +1\b")
        dev.interrupt()
        assert dev.wait() == 0
    assert "the VM's shadow" not in dev.output


@pytest.mark.parametrize("source", ["randomness", "a uuid"])
def test_rules_that_differ_each_time_are_found_without_a_shadow(source: str, tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickle.py", "--alone", "--genesis", source, folder=tmp_path) as dev:
        call(dev.url(), "write", text="one")
        assert dev.line(r"nondeterminism: block \S+ at height (\d+)")[1] == "1"
        dev.interrupt()
        assert dev.wait() == 0
    assert dev.output.count("nondeterminism: block") == 1


def test_a_database_that_differs_is_found_with_its_keys(tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickleblocks.py", folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x00")
        found = dev.line(r"after block (\d+), .* the database differs .*: key 0x(\w+) is 0x\w+ here")
        assert (found[1], bytes.fromhex(found[2])) == ("1", b"stored at")
        dev.interrupt()
        assert dev.wait() == 0


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a bug in gossip", r"shadow \| .*ValueError: this gossip is not understood"),
        ("death by gossip", r"the shadow, .*, has exited: .*this gossip can't be borne"),
    ],
)
def test_the_shadow_hears_the_gossip(source: str, found: str, tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickle.py", "--genesis", source, folder=tmp_path) as dev:
        call(meet(dev), "write", text="one")
        dev.line(found)
        dev.interrupt()
        assert dev.wait() == 0


def test_a_deterministic_vm_is_left_alone_also_over_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with Dev(PLUGINS / "fickle.py", "--genesis", "nothing", folder=tmp_path) as dev:
            call(dev.url(), "write", text="one")
            dev.line(r"accepted|block +\d+")
            dev.interrupt()
            assert dev.wait() == 0
        assert "shadow" not in dev.output


def test_a_chain_that_prunes_is_left_alone(tmp_path: Path) -> None:
    with Dev(PLUGINS / "pruning.py", folder=tmp_path) as dev:
        dev.line(r"shadow \| .*all blocks are here")
        dev.interrupt()
        assert dev.wait() == 0
    assert "Other nodes" not in dev.output


def test_alone_there_is_no_shadow(tmp_path: Path) -> None:
    with Dev(PLUGINS / "fickle.py", "--alone", "--genesis", "a hash", folder=tmp_path) as dev:
        call(dev.url(), "write", text="one")
        dev.line(r"block +\d+")
        dev.interrupt()
        assert dev.wait() == 0
    assert "shadow" not in dev.output
