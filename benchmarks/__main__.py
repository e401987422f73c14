"""Run every benchmark, or those named, and print one table: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path

from benchmarks.table import markdown

# Not benchmarks for this table: network_start and xsvm need a real node, and are commands of their
# own.
_FRAME = {"__init__", "__main__", "table", "contenders", "barevm", "httpload", "network_start", "xsvm"}


def main() -> int:
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _FRAME)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; default: all")
    chosen = parser.parse_args().names
    for name in chosen:
        if name not in names:
            parser.error(f"there is no benchmark {name!r}: choose from {', '.join(names)}")
    rows, status = [], 0
    for name in chosen or names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            rows.extend(importlib.import_module(f"benchmarks.{name}").run())
        except Exception:  # noqa: BLE001 - the other figures took minutes
            traceback.print_exc()
            status = 1
    print(markdown(rows))
    return status


if __name__ == "__main__":
    sys.exit(main())
