"""`vmsdk dev --reload`: code changes, and the chain goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .devcommand import Dev, call, request
from .test_dev import executable, talkative, vm_process

pytestmark = pytest.mark.slow


def save(file: Path, text: str, time_s: float | None = None) -> None:
    """Write a file that is watched. In one step, as one that is written may be seen empty."""
    new = file.with_suffix(".new")
    new.write_text(text)
    if time_s is not None:
        os.utime(new, (time_s, time_s))
    new.replace(file)


def test_changed_code_runs_with_the_same_chain_at_the_same_address(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    with Dev(vm, "--reload", folder=tmp_path) as dev:
        first = vm_process(dev)
        url = dev.url()
        call(url, "timestampvm.proposeBlock", data="0x01")
        block_id = dev.line(r"^block 1  (\S+)")[1]
        save(vm, vm.read_text().replace('"pid"', '"changed pid"'))
        dev.line(r"^changed: vm\.py: restarting the VM")
        dev.line(r"vm \| changed pid")
        assert dev.url() == url
        assert dev.line(r"last block: 1  (\S+)")[1] == block_id
        assert call(url, "timestampvm.lastAccepted") == {"id": block_id, "height": 1}
        first.wait()
        dev.interrupt()
        assert dev.wait() == 0


def test_code_that_does_not_start_is_reported_and_the_next_change_tries_again(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    good = vm.read_text()
    with Dev(vm, "--reload", folder=tmp_path) as dev:
        url = dev.url()
        save(vm, good + "    def broken(:\n")
        dev.line(r"SyntaxError: ")
        dev.line(r"^waiting for a change")
        assert request(url)[0] == 503  # as from a node whose chain is not there yet
        save(vm, good + "        raise ValueError('still broken')\n")
        dev.line(r"^shutting down chain: Initialize: ValueError: still broken")
        dev.line(r"^waiting for a change")
        save(vm, good)
        dev.line(r"^changed: vm\.py: starting the VM")
        call(dev.url(), "timestampvm.proposeBlock", data="0x01")
        dev.line(r"^block 1 ")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_vm_that_dies_waits_for_the_next_change(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    with Dev(vm, "--reload", folder=tmp_path) as dev:
        process = vm_process(dev)
        dev.url()
        process.kill()
        dev.line(r"^the VM died \(SIGKILL\)")
        dev.line(r"^waiting for a change")
        dev.interrupt()
        assert dev.wait() == 0


def test_a_vm_that_hangs_at_its_start_is_replaced_by_its_next_version(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    good = vm.read_text()
    save(vm, good + "        print('hanging')\n        while True: pass\n")
    with Dev(vm, "--reload", folder=tmp_path) as dev:
        dev.line(r"vm \| hanging")
        save(vm, good)
        dev.line(r"^the VM does not stop: killing it")
        dev.url()
        dev.interrupt()
        assert dev.wait() == 0


def test_a_module_beside_the_file_belongs_to_its_code_and_its_data_do_not(tmp_path: Path) -> None:
    vm = talkative(tmp_path)
    with Dev(vm, "--reload", folder=tmp_path) as dev:
        dev.url()
        (tmp_path / "notes.txt").write_text("not code")
        save(tmp_path / "rules.py", "LIMIT = 1\n")
        assert dev.line(r"^changed: (.*): restarting the VM")[1] == "rules.py"
        dev.url()
        dev.interrupt()
        assert dev.wait() == 0


def test_a_rebuilt_executable_is_started_anew(tmp_path: Path) -> None:
    plugin = executable(tmp_path, protocol=45)
    with Dev(plugin, "--reload", "--protocol", "45", folder=tmp_path) as dev:
        dev.url()
        executable(tmp_path, protocol=45)
        dev.line(r"^changed: my-plugin: restarting the VM")
        dev.url()
        dev.interrupt()
        assert dev.wait() == 0


def test_a_change_is_seen_that_neither_size_nor_time_tell(tmp_path: Path) -> None:
    # By these Python tells a compiled file from a stale one: two changes within a second may look
    # alike.
    vm = talkative(tmp_path)
    good = vm.read_text()
    with Dev(vm, "--reload", folder=tmp_path) as dev:
        dev.url()
        for word in ("uno", "duo"):
            save(vm, good.replace('"pid"', f'"{word}"'), 1_700_000_000)
            dev.line(rf"vm \| {word} \d+")
            dev.url()
        dev.interrupt()
        assert dev.wait() == 0
