"""A bundle: a VM and everything that it imports, in one file for the plugin directory.

The file is a shell script with an archive behind it. At its first start on a machine it unpacks
itself into a folder of the user's, and then starts the VM from there as a launcher does. A node
sets one environment variable and no HOME, so the folder is found by the user's entry in the
password database.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vmsdk import protocol as protocols
from vmsdk import target as targets
from vmsdk.errors import VMError
from vmsdk.ids import ID, vm_id
from vmsdk.install import interpreter
from vmsdk.install.bundlescript import (
    PYTHON_FOLDERS,
    PYTHON_VARIABLE,
    STARTER,
    UNPACK_DIR_VARIABLE,
    system,
    with_archive,
)
from vmsdk.install.contents import CODE, PACKAGES, Contents
from vmsdk.install.installation import try_start, vm_name
from vmsdk.install.launcher import FLAGS, InstallError, Launcher
from vmsdk.install.plugindirectory import MODE, PluginDirectory
from vmsdk.target import SourceTarget

# In a new process, since bytecode depends on what the process did before. Python must not compare
# the sources' times with it, since unpacking changes them.
_COMPILE = """\
import compileall, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[1], invalidation_mode=mode)
"""

# As in a virtual environment, the standard library comes before the packages.
_PATH = f"""\
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:1] = []
    sys.path.append(here + "/{PACKAGES}")"""
_PTH_FILES = f"""
    import site

    site.addsitedir(here + "/{PACKAGES}")"""


@dataclass(frozen=True)
class Bundle:
    """A built bundle."""

    path: Path
    vm_id: ID
    application: str
    """The VM's name and version, as in `timestampvm/1.0.0`."""
    launcher: Launcher
    """How it starts the VM."""
    size_bytes: int
    sha256: str
    """Of the file, in hexadecimal digits."""
    code: list[str]
    """The files of the VM's code, relative to its folder."""
    left_out: list[tuple[Path, Path]]
    """Folders next to a module that it names and that aren't included, with the module."""
    packages: list[str]
    """The packages, such as `grpcio 1.85.3`."""
    needs: str
    """What the node's machine must have."""


class _Here(str):
    """A path in the bundle. Its repr is code for the path where the bundle was unpacked."""

    def __repr__(self) -> str:
        return f"here + {str(self)!r}"


def bundle(
    target: str,
    *,
    output: Path | None = None,
    plugin_dir: Path | None = None,
    python: bool = False,
    requirements: Sequence[str] = (),
    include: Sequence[Path] = (),
    unpack_dir: str | None = None,
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    user: str | None = None,
) -> Bundle:
    """Write the VM *target*, and everything that it imports, into one file that a node can start.

    The file is *output*, or is in the folder *output* (by default, the current one) under the VM's
    ID, as in *plugin_dir*. The packages are those that are installed for this Python, in their
    versions; *requirements* and *include* name more, see `Contents`. With *python*, the interpreter
    is included, too. The file unpacks itself into *unpack_dir*, by default into the home of the
    node's user, or a folder of that user in /var/tmp. *options* are fields of `Launcher`.

    The same input gives the same bytes. The VM is first started and stopped as a node does; as
    *user*, if given, which only root can do.

    Raises `InstallError`, `TargetError`, `InvalidInput` or `UnsupportedProtocol`, and then changes
    nothing.
    """
    directory = None if plugin_dir is None else PluginDirectory(plugin_dir)
    if name is not None:
        vm_id(name)
    if unpack_dir is not None and not os.path.isabs(unpack_dir):
        raise InstallError(
            f"--unpack-dir {unpack_dir} is not an absolute path, and a node starts in any folder"
        )
    source = targets.find(target)
    if not isinstance(source, SourceTarget):
        raise InstallError(f"{target} is an executable already: a bundle is made from Python source")
    contents = Contents(source, requirements, include)
    file = None if source.file is None or source.root is None else source.file.relative_to(source.root)
    shown = source._replace(file=file, root=None)
    launcher = Launcher(
        name=name or source.module,
        target=shown,
        python="",
        install_command=shlex.join(["vmsdk", "bundle", shown.absolute]),
        **(options or {}),  # type: ignore[arg-type]
    )
    if launcher.protocol is not None:
        protocols.protocol(launcher.protocol)
    # A temporary folder that others can enter, as a trial may run as another user.
    with tempfile.TemporaryDirectory(prefix="vmsdk-bundle-") as temporary:
        os.chmod(temporary, MODE)
        tree = Path(temporary, "tree")
        _fill(tree, contents.files | (interpreter.files(contents.files.values()) if python else {}))
        starter = tree / STARTER
        starter.write_bytes(_starter(launcher, source, tree))
        starter.chmod(0o755)
        with _hint():
            found = vm_name([*_interpreter_command(tree, python=python), starter], source)
        launcher = replace(launcher, name=name or found)
        vm = vm_id(launcher.name)
        _compile(tree)
        starter.write_bytes(_starter(launcher, source, tree))
        data = with_archive(launcher, vm, tree, python=python, unpack_dir=unpack_dir)
        shutil.rmtree(tree)
        if directory is not None:
            directory.check(vm)
            with directory.staged(data) as staged:
                version = _try(staged, source, user, None)
                path = directory.replace(vm, staged)
        else:
            place = (output or Path()).absolute()
            path = place / str(vm) if place.is_dir() else place
            with _written(path, data) as staged:
                version = _try(staged, source, user, Path(temporary))
                staged.replace(path)
    return Bundle(
        path,
        vm,
        f"{launcher.name}/{version}",
        launcher,
        len(data),
        hashlib.sha256(data).hexdigest(),
        contents.code,
        contents.left_out,
        sorted(f"{each.name} {each.version}" for each in contents.distributions.values()),
        f"{system()} with " + (_libc() if python else f"{interpreter.NAME} in {', '.join(PYTHON_FOLDERS)}"),
    )


def has_python() -> bool:
    """Return whether this machine has the Python that a bundle looks for."""
    return any(os.access(f"{folder}/{interpreter.NAME}", os.X_OK) for folder in PYTHON_FOLDERS)


def _fill(tree: Path, files: Mapping[str, Path]) -> None:
    for name, origin in files.items():
        place = tree / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(origin, place)
            place.chmod(0o755 if origin.stat().st_mode & 0o100 else 0o644)
        except OSError as error:
            raise InstallError(f"{origin} can't be put into the bundle: {error.strerror or error}") from None


def _compile(tree: Path) -> None:
    command = [sys.executable, "-S", "-c", _COMPILE, str(tree)]
    subprocess.run(command, env={"PYTHONHASHSEED": "0"}, check=True, cwd="/")


def _starter(launcher: Launcher, source: SourceTarget, tree: Path) -> bytes:
    has_pth = next((tree / PACKAGES).glob("*.pth"), None) is not None
    places: dict[str, object] = {}
    if source.root is not None:
        places["root"] = _Here(f"/{CODE}")
    if source.root is not None and source.file is not None:
        places["file"] = _Here(f"/{CODE}/{source.file.relative_to(source.root).as_posix()}")
    return launcher.python_code(_PATH + _PTH_FILES * has_pth, **places).encode("utf-8")


def _interpreter_command(tree: Path, *, python: bool) -> list[str]:
    flags = ["env", "PYTHONHASHSEED=0"]
    if python:
        flags += [f"LD_LIBRARY_PATH={tree / interpreter.LIBRARIES}", str(tree / interpreter.EXECUTABLE)]
    else:
        flags.append(sys.executable)
    return [*flags, *FLAGS, "-S", "-B"]  # bytecode written now would depend on the time


def _libc() -> str:
    name, version = platform.libc_ver()
    return f"{name} {version} or newer" if name else "musl"


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """Write *data* to an executable file next to *path*, to replace it."""
    try:
        with tempfile.TemporaryDirectory(prefix=".vmsdk-", dir=path.parent) as folder:
            os.chmod(folder, MODE)
            staged = Path(folder, path.name)
            staged.write_bytes(data)
            staged.chmod(MODE)
            yield staged
    except OSError as error:
        raise InstallError(f"{path} can't be written: {error.strerror or error}") from None


@contextmanager
def _hint() -> Iterator[None]:
    try:
        yield
    except VMError as error:
        raise InstallError(
            f"{error}\nIf a module is missing, name its package: --with PACKAGE. If a file is: --include FILE"
        ) from None


def _try(staged: Path, source: SourceTarget, user: str | None, temporary: Path | None) -> str:
    """Start and stop the bundle as a node does, and return the VM's version.

    It unpacks itself below *temporary*, or, if that is None, in the same place as on the node.
    """
    environment = {} if has_python() else {PYTHON_VARIABLE: sys.executable}
    if temporary is not None:
        folder = temporary / "unpacked"
        folder.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(folder, user)
        environment[UNPACK_DIR_VARIABLE] = str(folder)
    with _hint():
        return try_start(staged, source, user, environment)
