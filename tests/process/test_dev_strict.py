"""`vmsdk dev` names what a network would not accept of a VM, though the VM alone works."""

from __future__ import annotations

from pathlib import Path

import pytest

from .devcommand import TIMESTAMP_VM, Dev, call
from .plugin import PLUGINS

CARELESS = PLUGINS / "careless.py"
BROKEN = "a network would not accept this: "

DEFECTS = {
    "no height index": r"GetBlockIDAtHeight\(1\) returns nothing, but block 1 is accepted.* Store the ID",
    "writes in verify": r"wrote to its database while it verified block 1 \(keys 0x68616c6620646f6e65\)",
    "big blocks": r"block 1 has \d+ bytes: nodes send each other at most 2097152 bytes",
    "stores no blocks": r"GetBlock\(\S+\) returns nothing, but that is the accepted block \d",
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_broken_rule_is_named_once_with_its_cure(defect: str, tmp_path: Path) -> None:
    with Dev(CARELESS, "--alone", "--genesis", defect, folder=tmp_path) as dev:
        url = dev.url()
        for number in range(3):
            call(url, "timestampvm.proposeBlock", data=f"0x{number:02x}")
            dev.line(r"^block +\d+")
        dev.line(BROKEN + ".*" + DEFECTS[defect])
        dev.interrupt()
        assert dev.wait() == 0
    assert dev.output.count(BROKEN) == 1


def test_a_height_that_jumps_is_refused_where_the_block_is_built(tmp_path: Path) -> None:
    with Dev(CARELESS, "--alone", "--genesis", "heights by seven", folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"build_block returned a block of height 7 on \S+, whose height is 0: it must be one higher")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_good_vm_breaks_no_rule_also_over_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with Dev(TIMESTAMP_VM, "--alone", folder=tmp_path) as dev:
            url = dev.url()
            for number in range(12):
                call(url, "timestampvm.proposeBlock", data=f"0x{number:02x}")
                dev.line(r"^block +\d+")
            dev.interrupt()
            assert dev.wait() == 0
        assert BROKEN not in dev.output


def test_a_vm_that_refuses_the_blocks_of_other_nodes_is_found_by_its_shadow(tmp_path: Path) -> None:
    with Dev(CARELESS, "--genesis", "knows only its own", folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"block 1, \S+, is refused by the VM's shadow.*its state root is wrong")
        dev.interrupt()
        assert dev.wait() == 0


def test_work_that_never_ends_is_found(tmp_path: Path) -> None:
    with Dev(CARELESS, "--alone", "--genesis", "works for ever", folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(BROKEN + r"100 blocks in a row within \d+\.\d s, with no request")
        dev.interrupt()
        assert dev.wait() == 0
    assert dev.output.count(BROKEN) == 1


def test_a_vm_that_forgets_what_it_accepted_is_found_at_the_next_start(tmp_path: Path) -> None:
    with Dev(CARELESS, "--alone", "--genesis", "forgets", folder=tmp_path) as dev:
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"^block +1")
        dev.interrupt()
        assert dev.wait() == 0
    with Dev(CARELESS, "--alone", folder=tmp_path) as dev:
        dev.line(BROKEN + r"the VM started at block 0, \S+, but had accepted block 1,")
        dev.interrupt()
        assert dev.wait() == 0
