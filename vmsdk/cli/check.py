"""`vmsdk check`: check a plugin against the contract with the node."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from vmsdk.cli.arguments import content, filled, filled_path
from vmsdk.errors import MissingExtra, VMError
from vmsdk.protocol import DEFAULT_PROTOCOL, NEWEST, OLDEST, PROTOCOLS

if TYPE_CHECKING:
    from vmsdk.testing.bench import Bench
    from vmsdk.testing.contract import Check
    from vmsdk.testing.hook import Hook
    from vmsdk.testing.run import Result

NAME = "check"
HELP = "check a plugin in any language against the contract with the node"
DESCRIPTION = """\
Check a plugin, in any language, against the contract with the node, as far as it can be seen from outside.

  vmsdk check vm.py                                the VM in a file
  vmsdk check ./my-vm --genesis genesis.json       a plugin's executable
  vmsdk check vm.py --hook hook.py                 transactions from issue(client) in hook.py
  vmsdk check vm.py --request '/ {"method": "write", "params": ["{n}"]}'
                                                   transactions by HTTP, with a number for {n}
  vmsdk check vm.py --only blocks http.json-rpc    areas and single checks
  vmsdk check --list                               all checks, with their rules

Exit status: 0 if nothing was found, 1 for violations, 2 if the plugin or the hook can't be used, 3 for an
error of vmsdk itself.
"""

MAX_DEFAULT_JOBS = 4
_VIOLATED_STATUS, _USAGE_STATUS, _ERROR_STATUS = 1, 2, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        type=filled,
        metavar="PLUGIN",
        nargs="?",
        help="path/vm.py, path/vm.py:Class, package.module[:Class], or an executable",
    )
    parser.add_argument(
        "--protocol",
        type=int,
        choices=range(OLDEST, NEWEST + 1),
        metavar="N",
        help=f"the protocol version to speak, {OLDEST} to {NEWEST}; default: an executable's own, or "
        f"{DEFAULT_PROTOCOL}",
    )
    chain = parser.add_argument_group("the chain")
    for name in ("genesis", "config", "upgrade"):
        chain.add_argument(f"--{name}", type=filled_path, metavar="FILE", help="default: empty")
    work = parser.add_argument_group("transactions (without them, checks that need blocks are skipped)")
    source = work.add_mutually_exclusive_group()
    source.add_argument(
        "--hook",
        type=filled_path,
        metavar="FILE",
        help="a Python file whose issue(client) sends a transaction",
    )
    source.add_argument(
        "--request", metavar="'PATH JSON'", help="a POST that sends one; {n} is a different number each time"
    )
    checks = parser.add_argument_group("the checks")
    checks.add_argument("--only", nargs="+", default=[], metavar="NAME|AREA", help="run these")
    checks.add_argument("--skip", nargs="+", default=[], metavar="NAME|AREA", help="skip these")
    checks.add_argument("--slow", action="store_true", help="include the slow ones, such as an idle minute")
    checks.add_argument(
        "--jobs",
        type=_positive,
        default=min((os.cpu_count() or 1) + 1, MAX_DEFAULT_JOBS),  # some only wait
        metavar="N",
        help=f"how many run at once; default: one more than there are cores, at most {MAX_DEFAULT_JOBS}",
    )
    checks.add_argument("--list", action="store_true", help="list the checks and exit")
    report = parser.add_argument_group("the report")
    report.add_argument("--junit", type=filled_path, metavar="FILE", help="write it as JUnit XML, too")
    report.add_argument("--json", type=filled_path, metavar="FILE", help="write it as JSON, too")


def run(args: argparse.Namespace) -> int:
    from vmsdk.testing.contract import all_checks

    try:
        checks = _selected(all_checks(), args.only, args.skip)
        if args.list:
            print(_listed(checks))
            return 0
        if args.target is None:
            raise VMError("name a plugin: vmsdk check PLUGIN")
        with _command(args.target, args.protocol) as command:
            return _check(args, command, checks)
    except VMError as error:
        print(f"vmsdk check: {error}", file=sys.stderr)
        return _USAGE_STATUS


def _check(args: argparse.Namespace, command: Callable[[int], list[str]], checks: list[Check]) -> int:
    from vmsdk.testing.bench import NO_WORK, Bench
    from vmsdk.testing.report import Report
    from vmsdk.testing.run import run_checks

    for name in ("vmsdk", "asyncio"):
        # Checks report the host's warnings; grpcio's server logs tasks that it lost at its stop.
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    bench = Bench(
        [],
        genesis=content(args.genesis),
        config=content(args.config),
        upgrade=content(args.upgrade),
        hook=_hook(args),
    )
    trouble, scope = _greet(bench, command, args.protocol)
    checks = [check for check in checks if bench.protocol in check.protocols]
    if scope:
        checks = [check for check in checks if check.area in scope or check.name in scope]
    if not args.slow:
        named = set(args.only)
        checks = [check for check in checks if not check.slow or check.name in named]
    print(
        f"vmsdk check {args.target}: {len(checks)} checks, protocol {bench.protocol} "
        f"({', '.join(PROTOCOLS[bench.protocol].releases)})",
        flush=True,
    )
    if trouble:
        print(trouble)
    began_s = time.monotonic()
    with _progress() as (on_start, on_result):
        results = run_checks(bench, checks, jobs=args.jobs, on_start=on_start, on_result=on_result)
    report = Report(args.target, bench.protocol, results, time.monotonic() - began_s)
    print(f"\n{report.text()}")
    for path, text in ((args.junit, report.junit), (args.json, report.json)):
        if path is not None:
            _write(path, text())
    if bench.hook is None and any(result.why == NO_WORK for result in results):
        print("checks that need blocks were skipped: see vmsdk check --help about transactions")
    return max(report.exit_status, _VIOLATED_STATUS) if trouble else report.exit_status


def _greet(
    bench: Bench, command: Callable[[int], list[str]], protocol: int | None
) -> tuple[str, Sequence[str]]:
    """Start the plugin, and set the bench's command and protocol.

    If it doesn't reach normal operation, returns why, and the areas and checks that still make
    sense. Raises `VMError` if it can't be executed, or doesn't speak the *protocol* that the user
    chose.
    """
    from vmsdk.host.errors import (
        EndedBeforeHandshake,
        HandshakeFailed,
        HostError,
        ProtocolMismatch,
        StartFailed,
    )

    bench.protocol = DEFAULT_PROTOCOL if protocol is None else protocol
    for _ in range(2):
        bench.command = command(bench.protocol)
        process = bench.process()
        try:
            process.start()
            process.kill()
            with bench.chain():
                return "", ()
        except ProtocolMismatch as error:
            if protocol is not None or error.plugin not in PROTOCOLS:
                raise VMError(
                    f"the plugin speaks protocol {error.plugin}, not {error.host}: give --protocol "
                    f"{error.plugin}"
                    if error.plugin in PROTOCOLS
                    else f"the plugin speaks protocol {error.plugin}; vmsdk supports {OLDEST} to {NEWEST}"
                ) from None
            bench.protocol = error.plugin
        except StartFailed as error:
            if "Exec format error" not in error.reason:
                raise
            raise VMError(
                f"{error.command} is not a program for this machine: it is built for another system or "
                "architecture, or is a script without a #! line"
            ) from None
        except HandshakeFailed as error:
            scope = "handshake" if isinstance(error, EndedBeforeHandshake) else "handshake.announces-in-time"
            return "the plugin doesn't complete the handshake, so only the handshake is checked", (scope,)
        except HostError as error:
            return (
                f"the chain doesn't start, so only that is checked: {error}",
                ("handshake", "life.reaches-normal-operation"),
            )
        finally:
            bench.close()
    raise VMError("the plugin announces a different protocol version at each start")


@contextmanager
def _command(text: str, protocol: int | None) -> Iterator[Callable[[int], list[str]]]:
    """Find the target, and yield a function that returns its argv at a protocol version."""
    from vmsdk import target as targets

    target = targets.find(text)
    if not isinstance(target, targets.SourceTarget):
        yield lambda version: [str(target.file)]
        return
    from vmsdk.install.installation import added_path
    from vmsdk.install.launcher import Launcher

    with tempfile.TemporaryDirectory(prefix="vmsdk-check-") as folder:

        def command(version: int) -> list[str]:
            launcher = Launcher(target.absolute, target, path=added_path(), protocol=version)
            return launcher.write(Path(folder, "launcher"))

        yield command


def _hook(args: argparse.Namespace) -> Hook | None:
    from vmsdk.testing.hook import Hook

    if args.hook is None and args.request is None:
        return None
    try:
        import httpx  # noqa: F401 - for the hook's client
    except ModuleNotFoundError:
        raise MissingExtra("sending transactions", package="httpx", extra="testing") from None
    if args.hook is not None:
        return Hook.from_file(args.hook)
    return Hook.from_request(args.request)


def _selected(checks: Sequence[Check], only: Sequence[str], skip: Sequence[str]) -> list[Check]:
    """Return the checks that the user wants. Raises `VMError` for a name that does not exist."""
    from vmsdk.testing.contract import AREAS

    known = {*AREAS, *(check.name for check in checks)}
    for name in (*only, *skip):
        if name not in known:
            raise VMError(f"there is no check or area {name}: see vmsdk check --list")

    def named(check: Check, names: Sequence[str]) -> bool:
        return check.name in names or check.area in names

    return [check for check in checks if (not only or named(check, only)) and not named(check, skip)]


def _listed(checks: Sequence[Check]) -> str:
    width = max((len(check.name) for check in checks), default=0)
    return "\n".join(
        f"{check.name:{width}}  {check.severity.value:10}  {check.reason}{' (slow)' if check.slow else ''}"
        for check in checks
    )


@contextmanager
def _progress() -> Iterator[tuple[Callable[[Check], None], Callable[[Result], None]]]:
    """Yield functions that show a check's start and its result, in colour on a terminal."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        yield (lambda check: None, lambda result: print(_line(result), flush=True))
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    styles = {"passed": "green", "skipped": "dim", "violated": "bold red"}
    with console.status("") if console.is_terminal else nullcontext() as status:

        def on_start(check: Check) -> None:
            if status is not None:
                status.update(check.name)

        def on_result(result: Result) -> None:
            console.print(_line(result), style=styles.get(result.verdict.value, "bold yellow"))

        yield on_start, on_result


def _line(result: Result) -> str:
    detail = result.why if result.violation is None else result.violation.message
    first = detail.strip().partition("\n")[0]
    end = f": {first}" if first else f" in {result.seconds:.1f} s"
    return f"  {result.verdict.value:12}{result.check.name}{end}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise VMError(f"can't write {path}: {error.strerror or error}") from None


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of checks: give 1 or more")
    return number
