"""The comparison with Go compares VMs that do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from .build import build
from .gohost import GoHost
from .nodes import NEWEST
from .pyplugin import TIMESTAMP, bare_plugin, python_plugin
from .side_by_side import BODY, PHASES, Times, measure, table

CYCLES = 20


@pytest.mark.parametrize("contender", ["vmsdk", "bare grpcio", "Go"])
def test_every_contender_accepts_a_block_a_cycle(contender: str, tmp_path: Path) -> None:
    plugin = {
        "vmsdk": lambda: python_plugin(tmp_path, TIMESTAMP, NEWEST.protocol),
        "bare grpcio": lambda: bare_plugin(tmp_path, NEWEST.protocol),
        "Go": lambda: build("timestampvm", NEWEST),
    }[contender]()
    with GoHost(NEWEST) as host:
        genesis = host.run(plugin, b"genesis")
        host.create_handlers()
        found = host.call("cycle", count=CYCLES, path="", body=BODY)
        assert {len(found[phase]) for phase in PHASES} == {CYCLES}
        last = host.last_accepted()
        assert last.height == CYCLES
        assert len(last.raw) == len(genesis.raw) == 80
        host.shutdown()


def test_the_table_has_a_row_for_each_contender(tmp_path: Path) -> None:
    times = Times()
    measure(build("timestampvm", NEWEST), times, cycles=CYCLES, launches=1)
    lines = table({"vmsdk": times, "bare grpcio": times, "Go": times}).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["vmsdk", "bare grpcio", "Go"]
    assert all("| 1.00 | 1.00 |" in line for line in lines[2:])
