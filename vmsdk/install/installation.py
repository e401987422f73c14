"""Installs and uninstalls VMs."""

from __future__ import annotations

import compileall
import json
import os
import shlex
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vmsdk import protocol as protocols
from vmsdk import target as targets
from vmsdk.address import Transport
from vmsdk.errors import VMError
from vmsdk.host.errors import ending
from vmsdk.ids import ID, vm_id
from vmsdk.install.launcher import InstallError, Launcher
from vmsdk.install.plugindirectory import PluginDirectory
from vmsdk.runtime.logrecords import LogFormat, readable
from vmsdk.runtime.release import VERSION_FLAG, Command, Release
from vmsdk.runtime.version import JSON_FLAG
from vmsdk.target import SourceTarget

# Environments in uv's cache, from uv run --with and uvx.
_UV_FOLDERS = ("builds-v", "archive-v", "environments-v")
_TAG = "CACHEDIR.TAG"
# Parent and folder of the environments that pipx run makes.
_PIPX_CACHES = ((".cache", "pipx"), ("Caches", "pipx"), ("pipx", ".cache"))
# A node takes 0.1 to 0.3 s, and longer the first time, when its 90 MB are read from disk.
NODE_TIMEOUT_S = 20.0
IMPORT_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Installed:
    """An installed VM."""

    path: Path
    """The file in the plugin directory."""
    vm_id: ID
    application: str
    """The VM's name and version, as in `timestampvm/1.0.0`."""
    launcher: Launcher
    """What the file does."""
    node: Release | None
    """The node that was asked for its version."""


def install(
    target: str,
    *,
    name: str | None = None,
    plugin_dir: Path,
    protocol: int | None = None,
    node: Path | None = None,
    ask_parent: bool = True,
    memory_limit_bytes: int | None = None,
    log_level: str = "INFO",
    log_format: LogFormat = "plain",
    transport: Transport = "auto",
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Installed:
    """Write the file in *plugin_dir* that a node runs to start the VM *target*.

    The VM's ID is derived from *name*, by default the `name` of its class. The protocol version is
    *protocol*, or that of the node executable *node*, which is asked now. By default the VM asks
    the node that starts it, or speaks `vmsdk.protocol.DEFAULT_PROTOCOL` if *ask_parent* is false.
    *memory_limit_bytes* limits the process's data, *log_level* is the lowest level that it logs,
    *log_format* is "plain" or "json", *transport* is how the node reaches it (see `vmsdk.address`),
    and *environment* has the environment variables of the process.

    The file runs the interpreter that runs this function, and needs nothing from this process's
    environment. The VM is first started and stopped as a node does; as *user*, if given, which only
    root can do. The file replaces an earlier one atomically.

    Raises `InstallError`, `TargetError`, `InvalidInput` or `UnsupportedProtocol`, and then changes
    nothing.
    """
    _check_interpreter()
    directory = PluginDirectory(plugin_dir)
    if name is not None:
        vm_id(name)
    release = None if node is None else ask_node(node)
    if release is not None:
        protocol = release.protocol
    if protocol is not None:
        protocols.protocol(protocol)
    source = targets.find(target)
    if not isinstance(source, SourceTarget):
        vm = vm_id(name or source.name)
        raise InstallError(
            f"{target} is an executable, which a node can start as it is: "
            f"cp {shlex.quote(target)} {shlex.quote(str(directory.file(vm)))}"
        )
    environment = dict(environment or {})
    options = [f"--log-level={log_level}"] if log_level != "INFO" else []
    options += [f"--log-format={log_format}"] if log_format != "plain" else []
    options += [f"--transport={transport}"] if transport != "auto" else []
    options += [f"--memory-limit={memory_limit_bytes}"] if memory_limit_bytes is not None else []
    options += [f"--env={variable}={value}" for variable, value in environment.items()]
    named = [] if name is None else ["--name", name]
    command = ["vmsdk", "install", source.absolute, *named, "--plugin-dir", str(directory.path), *options]
    launcher = Launcher(
        name=name or source.module,
        target=source,
        path=added_path(),
        install_command=shlex.join(command),
        protocol=protocol,
        ask_parent=ask_parent,
        log_level=log_level,
        log_format=log_format,
        transport=transport,
        memory_limit_bytes=memory_limit_bytes,
        environment=environment,
    )
    if name is None:
        with directory.staged(launcher.to_bytes()) as staged:
            launcher = replace(launcher, name=vm_name([staged], source))
    vm = vm_id(launcher.name)
    directory.check(vm)
    # pip compiles vmsdk, but a source tree isn't compiled if the node's user can't write there.
    compileall.compile_dir(Path(protocols.__file__).parent, quiet=2)
    with directory.staged(launcher.to_bytes()) as staged:
        version = try_start(staged, source, user)
        path = directory.replace(vm, staged)
    return Installed(path, vm, f"{launcher.name}/{version}", launcher, release)


def uninstall(name: str, plugin_dir: Path) -> Path:
    """Remove the file that starts the VM called *name*, and return its path.

    A node that runs the VM keeps running it until the node restarts. Raises `InstallError` or
    `InvalidInput`.
    """
    directory = PluginDirectory(plugin_dir)
    vm = vm_id(name)
    if not directory.remove(vm):
        raise InstallError(f"{name} is not installed: there is no file {directory.file(vm)}")
    return directory.file(vm)


def node_path(text: str) -> Path:
    """Return the path of a node, named as in a shell: without a slash, it is a command."""
    return Path(text).absolute() if os.sep in text else Path(text)


def ask_node(node: Path) -> Release:
    """Return the release of *node*, a path or a command on the PATH. Raises `InstallError`."""
    path = Path(shutil.which(node) or node).absolute()
    try:
        release = Command(str(path), [str(path), VERSION_FLAG], os.environ).release(NODE_TIMEOUT_S)
    except OSError as error:
        raise InstallError(
            f"{node} can't be asked for its protocol version: {error.strerror or error}"
        ) from None
    if release is None:
        raise InstallError(
            f"{node} can't be asked for its protocol version: it did not respond to --version as metalgo "
            f"and avalanchego do, within {NODE_TIMEOUT_S:.0f} s"
        )
    return release


def name_of(source: SourceTarget) -> str:
    """Import *source* as on a node, and return the VM's name. Raises `InstallError`."""
    launcher = Launcher(name=source.module, target=source, path=added_path())
    with tempfile.TemporaryDirectory(prefix="vmsdk-name-") as folder:
        return vm_name(launcher.write(Path(folder, "launcher")), source)


def vm_name(command: Sequence[str | Path], target: SourceTarget) -> str:
    """Return the name of the VM that *command* starts, which imports it. Raises `InstallError`."""
    # A file, since a command that the author's code started may hold stderr open.
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                [*command, JSON_FLAG],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                timeout=IMPORT_TIMEOUT_S,
                check=False,
            )
            return str(json.loads(done.stdout)["name"])
        except OSError as error:
            raise _not_startable(target, error.strerror or str(error)) from None
        except subprocess.TimeoutExpired:
            raise _not_startable(target, f"importing it takes over {IMPORT_TIMEOUT_S:.0f} s") from None
        except (ValueError, KeyError, TypeError):
            errors.seek(0)
            output = errors.read().decode("utf-8", "replace").strip()
            raise _not_startable(target, _import_failure(done.returncode, output)) from None


def try_start(
    plugin: Path, target: SourceTarget, user: str | None, environment: Mapping[str, str] | None = None
) -> str:
    """Start and stop the VM as a node does, which also compiles its modules; return its version.

    Raises `InstallError`.
    """
    from vmsdk.install.trial import start_and_stop  # imports gRPC

    try:
        return start_and_stop(str(plugin), user, environment)
    except VMError as error:
        raise _not_startable(target, str(error)) from None


def _import_failure(status: int, output: str) -> str:
    if status > 0 and output:
        message = output.removeprefix("vmsdk: ")
        return message if "\n" not in message else f"its import fails\n{message}"
    return f"the import ended the process{ending(status)}\n{output}".strip()


def _not_startable(target: SourceTarget, reason: str) -> InstallError:
    # With --log-format json, its output is JSON.
    text = "\n".join(each for line in reason.splitlines() for each in readable(line))
    return InstallError(f"{target.text} does not start in an empty environment, as on a node: {text}")


def cache_of(python: Path) -> str | None:
    """Return the tool whose cache *python* is in, and may vanish from: "uv", "pipx" or None."""
    folders = python.parents
    caches = [each.parent for each in folders if each.name.startswith(_UV_FOLDERS)]
    if any(each.name == "uv" or (each / _TAG).exists() for each in caches):
        return "uv"
    return "pipx" if any((each.parent.name, each.name) in _PIPX_CACHES for each in folders) else None


def _check_interpreter() -> None:
    """Raise `InstallError` if this Python is in uv's or pipx's cache."""
    tool = cache_of(Path(sys.prefix))
    if tool is not None:
        raise InstallError(
            f"this Python, {sys.prefix}, is in {tool}'s cache, and may be gone when the node starts the "
            f"VM: use a virtual environment, or {tool} {'tool ' if tool == 'uv' else ''}install vmsdk"
        )


def added_path() -> tuple[str, ...]:
    """Return the folders on `sys.path` that come from PYTHONPATH or the user's site-packages."""
    added = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if site.ENABLE_USER_SITE:
        added.append(site.getusersitepackages())
    wanted = {os.path.abspath(each) for each in added}
    return tuple(dict.fromkeys(path for each in sys.path if (path := os.path.abspath(each)) in wanted))
