"""The upgrade file at Initialize: read for a VM that declares its upgrades, else left to the VM."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest

from vmsdk.errors import VMError
from vmsdk.upgrades import STORED_KEY

from .conftest import Serve
from .plainvm import PlainVM

FILE = b'{"upgrades": [{"name": "fees-v2", "height": %d}]}'


class UpgradedVM(PlainVM):
    upgrades = ("fees-v2",)


def refused(served: Any, data: bytes) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        served.initialize(upgrade_bytes=data)
    return str(caught.value.details())


def test_a_vm_that_declares_upgrades_finds_them_in_its_context(serve: Serve) -> None:
    vm = UpgradedVM()
    served = serve(vm, run=False)
    served.initialize(upgrade_bytes=FILE % 3)
    assert vm.ctx.upgrades.is_active("fees-v2", vm.make(vm.genesis.id, 3))
    assert not vm.ctx.upgrades.is_active("fees-v2", vm.make(vm.genesis.id, 2))
    assert vm.ctx.db.get(STORED_KEY) is not None


def test_a_vm_that_declares_none_gets_its_file_unread_and_nothing_is_stored(serve: Serve) -> None:
    vm = PlainVM()
    serve(vm, run=False).initialize(upgrade_bytes=b"its own")
    assert list(vm.ctx.db) == []
    with pytest.raises(VMError, match="upgrades = \\(\\): add the name there"):
        vm.ctx.upgrades.is_active("fees-v2", vm.genesis)


def test_a_file_that_is_wrong_is_refused_before_the_vm_begins_with_one_line_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[object] = []
    vm = UpgradedVM(initialize=lambda *arguments: begun.append(arguments))
    served = serve(vm, run=False)
    assert "update the plugin" in refused(served, FILE.replace(b"fees-v2", b"fees-v3") % 1)
    assert begun == []
    (record,) = (each for each in caplog.records if each.levelno >= logging.WARNING)
    assert "the chain does not start: the chain's upgrade file" in record.message
    assert record.exc_info is None
    assert served.shutdowns == ["begun"]


def test_a_file_that_changes_the_past_is_refused_and_the_vm_is_shut_down(serve: Serve) -> None:
    ended: list[bool] = []
    vm = UpgradedVM(shutdown=lambda: ended.append(True))
    vm.last = vm.make(vm.genesis.id, 5)
    vm.accepted[vm.last.id] = vm.last
    assert "changes the past. fees-v2 activates at height 4" in refused(serve(vm, run=False), FILE % 4)
    assert ended == [True]
