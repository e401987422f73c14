"""A plugin's surroundings: its streams, files and directories, and other chains."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from vmsdk.host.errors import CallFailed, ChainFatal, EndedBeforeHandshake, HostError, PluginGone
from vmsdk.host.plugin import with_variables
from vmsdk.ids import ID
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import RUNTIME, STOPPER, Severity, Violation, contract
from vmsdk.testing.wire import must_succeed, only_on_linux


@contract("life", severity=Severity.STOPS, source=RUNTIME)
def keeps_its_streams(bench: Bench) -> None:
    """The node stops a plugin whose stdout or stderr has ended."""
    only_on_linux()
    with bench.chain() as host:
        bench.alive(host)
        lost = [
            name
            for descriptor, name in ((1, "stdout"), (2, "stderr"))
            if not _is_pipe(f"/proc/{host.process.pid}/fd/{descriptor}")
        ]
        if lost:
            raise Violation(
                f"the plugin has closed or redirected {' and '.join(lost)}",
                sent="nothing: a start up to normal operation",
                got=f"{' and '.join(lost)} no longer lead to the node",
                node="it treats the plugin as dead: SIGTERM, and SIGKILL 5 s later",
                cure="leave descriptors 1 and 2 as they are, and log to them",
            )


def _is_pipe(path: str) -> bool:
    try:
        return os.readlink(path).startswith("pipe:")
    except OSError:
        return False


@contract("life", severity=Severity.STOPS, source="vms/registry/vm_getter.go")
def leaves_no_file(bench: Bench) -> None:
    """A node that finds a stray file in its plugin directory does not start."""
    folders = _plugin_folders(bench.command)
    with tempfile.TemporaryDirectory() as working:
        before = {name for folder in folders for name in _files(folder)}
        bench.command = _in_folder(working, bench.command)
        with bench.start() as host:
            bench.alive(host)
        left = {name for folder in folders for name in _files(folder)} - before
        left.update(os.path.join(working, name) for name in os.listdir(working))
    if left:
        raise Violation(
            "the plugin leaves files in the plugin directory or its working directory",
            sent="a start up to normal operation, then a stop",
            got=", ".join(sorted(left)),
            node='it no longer starts ("invalid vmID") if the file is in the plugin directory',
            cure="write to chain_data_dir, which Initialize gets, or to the database",
        )


def _plugin_folders(command: list[str]) -> set[Path]:
    """Return the folders of the plugin's files, of which a node has one as its plugin directory. A
    folder such as /tmp is not among them: any program may leave a file there at any time.
    """
    files = command if len(command) == 1 else command[1:]
    folders = {Path(name).resolve().parent for name in files if os.path.isfile(name)}
    return {folder for folder in folders if not folder.stat().st_mode & stat.S_ISVTX}


def _files(folder: Path) -> set[str]:
    return {str(entry) for entry in folder.iterdir() if not entry.is_dir()}


@contract("life", severity=Severity.STOPS, source=RUNTIME)
def starts_in_a_read_only_directory(bench: Bench) -> None:
    """The working directory is the node's, and may be read-only."""
    # Not even root can create a file there.
    _starts_in(bench, "/proc", "read-only")


@contract("life", severity=Severity.BETTER_NOT, source=RUNTIME)
def starts_in_a_deleted_directory(bench: Bench) -> None:
    """The working directory is the node's, and may have been removed since."""
    folder = tempfile.mkdtemp()
    try:
        _starts_in(bench, folder, "deleted", '/bin/rmdir "$1" && ')
    finally:
        if os.path.isdir(folder):
            os.rmdir(folder)


def _starts_in(bench: Bench, folder: str, kind: str, action: str = "") -> None:
    only_on_linux()
    command, bench.command = bench.command, _in_folder(folder, bench.command, action)
    try:
        with bench.alone() as host:
            bench.alive(host)
    except (EndedBeforeHandshake, ChainFatal, CallFailed, PluginGone) as error:
        bench.command = command
        with bench.alone():
            pass  # If it doesn't start elsewhere either, the directory is not the reason.
        raise Violation(
            f"the plugin does not run in a {kind} working directory",
            sent=f"a start in {folder} ({kind})",
            got=str(error),
            node="it does not have the VM if it is started in such a directory",
            cure="use absolute paths, and write to chain_data_dir",
        ) from None


def _in_folder(folder: str, command: list[str], action: str = "") -> list[str]:
    """Return a command that runs *command* in *folder*, after *action*."""
    script = f'cd "$1" && {action}shift && exec "$@"'
    program = [os.path.abspath(word) if os.sep in word and os.path.exists(word) else word for word in command]
    return ["/bin/sh", "-c", script, "sh", folder, *program]


@contract("life", severity=Severity.BETTER_NOT, source=STOPPER)
def leaves_no_temporary_file(bench: Bench) -> None:
    """Temporary files and sockets are removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        bench.command = with_variables(bench.command, f"TMPDIR={folder}")
        with bench.start() as host:
            bench.alive(host)
        left = sorted(os.listdir(folder))
    if left:
        raise Violation(
            "the plugin leaves temporary files behind",
            sent="a start up to normal operation, then a stop",
            got=f"{', '.join(left)} in the folder for temporary files",
            node="each start of the node leaves more of them",
            cure="remove them in Shutdown, or unlink them right after opening them",
        )


@contract("life", severity=Severity.STOPS, source="chains/manager.go")
def chains_run_side_by_side(bench: Bench) -> None:
    """A node runs a process for each chain of a VM: ports and lock files must not collide."""
    with bench.alone() as first:
        with (
            must_succeed(
                "a second chain of the VM does not start while the first runs",
                sent="a start up to normal operation, while another process of the plugin runs",
                node="only one of the VM's chains runs",
                cure="let the system choose ports, and keep lock files in chain_data_dir",
                errors=HostError,
            ),
            bench.alone(chain_id=ID.of(b"vmsdk check: a second chain")) as second,
        ):
            bench.alive(second)
        bench.alive(first)
