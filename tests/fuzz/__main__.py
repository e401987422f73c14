"""`python -m tests.fuzz --inputs 1000000`: the long run, with the slowest input of each decoder."""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections.abc import Callable

from .decoders import DECODERS
from .mutation import MAX_BYTES, corpus, mutated


class NoTracebacks(logging.Handler):
    """Fails on a traceback in the log, or any line that reports a fault."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.WARNING:
            raise AssertionError(f"logged: {record.getMessage()}")

    def handleError(self, record: logging.LogRecord) -> None:
        raise AssertionError(f"a record can't be formatted: {record.msg}")


def fuzz(
    name: str, inputs: int, seed: int, observe: Callable[[bytes, float], None] = lambda data, seconds: None
) -> None:
    """Give a decoder its corpus, then *inputs* mutations. *observe* gets each, with its CPU time.

    Raises `AssertionError` with the input that a decoder fails on.
    """
    decode = DECODERS[name]
    seeds = corpus(name)
    dice = random.Random(f"{seed} {name}")
    for number in range(-len(seeds), inputs):
        data = mutated(seeds, dice) if number >= 0 else seeds[number]
        begun_s = time.thread_time()
        try:
            decode(data)
        except Exception as error:
            raise AssertionError(f"{name} fails on {data[:500].hex()} ({len(data)} bytes)") from error
        observe(data, time.thread_time() - begun_s)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--inputs", type=int, default=1_000_000, help="of all decoders together")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    logging.getLogger().addHandler(NoTracebacks())
    begun_s = time.monotonic()
    print(f"{'decoder':<14}{'inputs':>9}{'slowest':>12}{'of bytes':>10}")
    for name in DECODERS:
        inputs = -(-options.inputs // len(DECODERS))
        slowest = (0.0, 0)

        def observe(data: bytes, seconds: float) -> None:
            nonlocal slowest
            slowest = max(slowest, (seconds, len(data)))

        fuzz(name, inputs, options.seed, observe)
        print(f"{name:<14}{inputs:>9}{slowest[0] * 1e3:>9.1f} ms{slowest[1]:>10}", flush=True)
    print(f"no traceback, nothing longer than {MAX_BYTES} bytes, {time.monotonic() - begun_s:.0f} s")


if __name__ == "__main__":
    main()
