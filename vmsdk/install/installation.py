"""Installing a VM for nodes, and removing it."""

from __future__ import annotations

import compileall
import os
import shlex
import shutil
import site
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from vmsdk import protocol as protocols
from vmsdk import target as targets
from vmsdk.address import Transport
from vmsdk.ids import ID, vm_id
from vmsdk.install.launcher import InstallError, Launcher
from vmsdk.install.plugindirectory import PluginDirectory
from vmsdk.install.trial import ask_version
from vmsdk.runtime.release import Release, VersionQuestion
from vmsdk.target import SourceTarget, TargetNotFound

# A node takes 0.1 to 0.3 s; the first time, its 90 MB are read from disk.
NODE_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Installed:
    """A VM that was installed."""

    path: Path
    """The file in the plugin directory."""
    vm_id: ID
    application: str
    """The VM's name and version, as in `timestampvm/1.0.0`."""
    launcher: Launcher
    """What the file does."""


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
    transport: Transport = "auto",
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Write the file by which a node starts the VM *target*; returns its path.

    *name* is the name from which the VM's ID follows, by default its class's `name`. The protocol
    version is *protocol*, or that of the node executable *node*, which is asked now; by default the
    VM asks the node that starts it, unless *ask_parent* is false: then it speaks
    `vmsdk.protocol.DEFAULT_PROTOCOL`. The process may have *memory_limit_bytes* for its data, logs
    from *log_level* on, listens at Unix sockets or TCP ports (*transport*), and gets the variables
    *environment*.

    The file replaces an earlier one in one step. It uses the interpreter that runs this function,
    and needs nothing from the environment of this process.

    Raises `InstallError`, `TargetError`, `InvalidInput` and `UnsupportedProtocol`; then nothing
    was changed.
    """
    if node is not None:
        protocol = ask_node(node).protocol
    directory = PluginDirectory(plugin_dir)
    launcher = make_launcher(
        target,
        name=name,
        directory=directory,
        protocol=protocol,
        ask_parent=ask_parent,
        memory_limit_bytes=memory_limit_bytes,
        log_level=log_level,
        transport=transport,
        environment=environment or {},
    )
    return place(launcher, directory).path


def make_launcher(
    target: str,
    *,
    name: str | None,
    directory: PluginDirectory,
    protocol: int | None,
    ask_parent: bool,
    memory_limit_bytes: int | None,
    log_level: str,
    transport: Transport,
    environment: Mapping[str, str],
) -> Launcher:
    """The launcher of *target*, with the arguments of `install`. Changes nothing.

    Imports the target, in a process of its own, only if *name* is None.
    """
    if name is not None:
        vm_id(name)
    if protocol is not None:
        protocols.protocol(protocol)
    source = targets.find(target)
    if not isinstance(source, SourceTarget):
        vm = vm_id(name or source.name)
        raise InstallError(
            f"{target} is an executable, which a node can start as it is: "
            f"cp {shlex.quote(target)} {shlex.quote(str(directory.file(vm)))}"
        )
    text, folder = _lasting(source)
    options = [f"--log-level={log_level}"] if log_level != "INFO" else []
    options += [f"--transport={transport}"] if transport != "auto" else []
    options += [f"--memory-limit={memory_limit_bytes}"] if memory_limit_bytes is not None else []
    options += [f"--env={variable}={value}" for variable, value in environment.items()]
    named = [] if name is None else ["--name", name]
    command = ["vmsdk", "install", text, *named, "--plugin-dir", str(directory.path), *options]
    launcher = Launcher(
        name=name or source.module,
        target=text,
        python=os.path.abspath(sys.executable),
        path=(*folder, *_added_path()),
        install_command=shlex.join(command),
        protocol=protocol,
        ask_parent=ask_parent,
        log_level=log_level,
        transport=transport,
        memory_limit_bytes=memory_limit_bytes,
        environment=dict(environment),
    )
    if name is None:
        with directory.staged(launcher.to_bytes()) as staged:
            launcher = replace(launcher, name=ask_version(staged, text).rpartition("/")[0])
    return launcher


def place(launcher: Launcher, directory: PluginDirectory) -> Installed:
    """Try *launcher* as a node would start it, then put it into *directory*."""
    vm = vm_id(launcher.name)
    directory.check(vm)
    # pip compiles vmsdk; run from its sources by another user it would never be compiled.
    compileall.compile_dir(Path(protocols.__file__).parent, quiet=2)
    with directory.staged(launcher.to_bytes()) as staged:
        application = ask_version(staged, launcher.target)
        return Installed(directory.replace(vm, staged), vm, application, launcher)


def uninstall(name: str, plugin_dir: Path) -> Path:
    """Remove the file by which nodes start the VM called *name*; returns its path.

    A node that runs the VM keeps running it until it is restarted. Raises `InstallError` and
    `InvalidInput`.
    """
    directory = PluginDirectory(plugin_dir)
    vm = vm_id(name)
    if not directory.remove(vm):
        raise InstallError(f"{name} is not installed: there is no file {directory.file(vm)}")
    return directory.file(vm)


def ask_node(node: Path) -> Release:
    """The release of the node executable *node*: a path, or a name to look for on the PATH.

    Raises `InstallError`.
    """
    path = Path(shutil.which(node) or node).absolute()
    try:
        release = VersionQuestion(str(path), environment=os.environ).answer(NODE_TIMEOUT_S)
    except OSError as error:
        raise InstallError(
            f"{node} can't be asked for its protocol version: {error.strerror or error}"
        ) from None
    if release is None:
        raise InstallError(
            f"{node} can't be asked for its protocol version: within {NODE_TIMEOUT_S:.0f} s it did not "
            "respond to --version as metalgo and avalanchego do"
        )
    return release


def _lasting(source: SourceTarget) -> tuple[str, tuple[str, ...]]:
    """The target as text that means the same from everywhere, and the folder to look for it in, if
    any.
    """
    attribute = "" if source.attribute is None else f":{source.attribute}"
    if source.file is not None:
        return f"{source.file}{attribute}", ()
    place = source.root.joinpath(*source.module.split("."))
    if place.with_suffix(".py").is_file() or (place / "__init__.py").is_file():
        return f"{source.module}{attribute}", (str(source.root),)
    top = source.module.partition(".")[0]
    if find_spec(top) is None:
        raise TargetNotFound(
            source.text,
            f"there is no module {top} in {source.root} or the installed packages: give a file as path/vm.py",
        )
    return f"{source.module}{attribute}", ()


def _added_path() -> tuple[str, ...]:
    """The folders on `sys.path` that come from PYTHONPATH or the user's own packages."""
    added = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if site.ENABLE_USER_SITE:
        added.append(site.getusersitepackages())
    wanted = {os.path.abspath(each) for each in added}
    return tuple(dict.fromkeys(path for each in sys.path if (path := os.path.abspath(each)) in wanted))
