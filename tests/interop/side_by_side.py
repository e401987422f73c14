"""Times vmsdk's example beside bare grpcio and Go: `python -m tests.interop.side_by_side`.

Each contender lives under the same host, of the newest protocol, in one run. Contenders take turns
round by round, so that whatever else the machine does hits all of them, and the medians of their
rounds are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.gobuild import GO_IS_MISSING, go_version

from .build import build
from .gohost import GoHost
from .nodes import NEWEST
from .pyplugin import TIMESTAMP, bare_plugin, python_plugin

BODY = '{"jsonrpc":"2.0","id":1,"method":"timestampvm.proposeBlock","params":{"data":"0x{{data}}"}}'
PHASES = ("propose", "event", "build", "verify", "set_preference", "accept", "total")
WARM_UP_CYCLES = 50


@dataclass
class Times:
    """Medians in milliseconds, one for each round."""

    phases: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    handshake: list[float] = field(default_factory=list)
    initialized: list[float] = field(default_factory=list)

    def median(self, phase: str) -> float:
        """The median of a phase's rounds."""
        return statistics.median(self.phases[phase])


def measure(plugin: Path, times: Times, cycles: int, launches: int) -> None:
    """One round of one contender."""
    with GoHost(NEWEST) as host:
        host.run(plugin, b"side by side")
        host.create_handlers()
        host.call("cycle", count=WARM_UP_CYCLES, path="", body=BODY)
        found = host.call("cycle", count=cycles, path="", body=BODY)
        for phase in PHASES:
            times.phases[phase].append(statistics.median(found[phase]))
        host.shutdown()
        found = host.call("launch", plugin=str(plugin), count=launches)
        times.handshake.append(statistics.median(found["handshake"]))
        times.initialized.append(statistics.median(found["initialized"]))


def table(contenders: dict[str, Times]) -> str:
    """The result in Markdown, in milliseconds."""
    floor = contenders["bare grpcio"].median("total")
    go = contenders["Go"].median("total")
    columns = [
        *(phase.replace("_", " ") for phase in PHASES),
        "times bare grpcio",
        "times Go",
        "handshake",
        "initialized",
    ]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, times in contenders.items():
        total = times.median("total")
        cells = [f"{times.median(phase):.2f}" for phase in PHASES]
        cells += [f"{total / floor:.2f}", f"{total / go:.2f}"]
        cells += [f"{statistics.median(times.handshake):.0f}", f"{statistics.median(times.initialized):.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Time the block cycle and the start of three plugins.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=300, help="block cycles in a round")
    parser.add_argument("--launches", type=int, default=5, help="starts in a round")
    arguments = parser.parse_args()
    if go_version() is None:
        print(GO_IS_MISSING, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as directory:
        plugins = {
            "vmsdk": python_plugin(Path(directory), TIMESTAMP, NEWEST.protocol),
            "bare grpcio": bare_plugin(Path(directory), NEWEST.protocol),
            "Go": build("timestampvm", NEWEST),
        }
        contenders = {name: Times() for name in plugins}
        for _ in range(arguments.rounds):
            for name, plugin in plugins.items():
                measure(plugin, contenders[name], arguments.cycles, arguments.launches)
    print("Times in milliseconds; whole cycles as multiples of others'; starts from exec.")
    print(table(contenders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
