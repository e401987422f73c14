"""A bundle: a VM and everything that it imports, in one file for the plugin directory.

The file is a shell script with an archive behind it. At its first start on a machine it unpacks
itself into a folder of the user's, and then starts the VM from there as a launcher does. A node
sets one environment variable and no HOME, so the folder is found by the user's entry in the
password database.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vmsdk import protocol as protocols
from vmsdk import target as targets
from vmsdk._version import __version__
from vmsdk.errors import VMError
from vmsdk.ids import ID, vm_id
from vmsdk.install import interpreter
from vmsdk.install.contents import CODE, PACKAGES, Contents
from vmsdk.install.installation import try_start, vm_name
from vmsdk.install.launcher import FLAGS, InstallError, Launcher, with_checksum
from vmsdk.install.plugindirectory import MODE, PluginDirectory
from vmsdk.target import SourceTarget

UNPACK_DIR_VARIABLE = "VMSDK_UNPACK_DIR"
"""The environment variable for another folder to unpack into. A node doesn't set it."""
PYTHON_VARIABLE = "VMSDK_PYTHON"
"""The environment variable for another interpreter. A node doesn't set it."""
PYTHON_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin")
"""Where a bundle looks for Python, as a node sets no PATH."""
_STARTER = "start"
# The start of the zip format's time, as some tools refuse earlier ones.
_TIME_S = 315_532_800
# In a new process, since the bytes depend on what the process has done before. They need no look at
# the source's time, which unpacking changes.
_COMPILE = """\
import compileall, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[1], invalidation_mode=mode)
"""

_TEXT = r"""#!/bin/sh
# The plugin of the VM {name!r}, built by vmsdk {version}.
# vmsdk-bundle {written}
# vmsdk-launcher sha256:
vm={quoted_name}
id={folder}
say() {{ printf 'vmsdk: %s\n' "$*" >&2; }}
# Whether this user owns the folder $1, and it is not a link: then nobody else can change it.
owned() {{ [ -O "$1" ] && [ -d "$1" ] && [ ! -L "$1" ]; }}
# Whether the folder $1 has all files, as a cleaner of /var/tmp may have removed some. Python itself
# adds only __pycache__. In a folder that is mounted with noexec, no file is executable.
whole() {{
  [ -x "$1/{starter}" ] || return 1
  ! command -v find >/dev/null ||
    [ "$(find "$1" -name __pycache__ -prune -o -type f -print | wc -l)" -ge {count} ]
}}
ready() {{ owned "$1" && whole "$1/$id" && dir=$1/$id; }}
# A process shares the lock of the folder that it uses, so that no later build removes it. The lock
# also keeps systemd from removing old files in /var/tmp.
share() {{ ! command -v flock >/dev/null || flock -s "$1"; }}
unpack() (
  umask 077
  mkdir -p "$1" 2>/dev/null
  owned "$1" || {{ say "$1 can't be made, or belongs to someone else"; exit 1; }}
  chmod 700 "$1"
  new=$1/.new-$id.$$
  rm -rf "$new"
  trap 'rm -rf "$new"' EXIT
  # Another start may remove it before it is locked.
  for try in 1 2 3 4 5 6 7 8 9; do
    mkdir -p "$new/$id" || exit 1
    {{ command exec 8<"$new" && share 8; }} 2>/dev/null
    [ ! -d "$new/$id" ] || break
  done
  # On a full disk, tar prints a line for each file.
  errors=$(tail -n +{lines} "$0" | tar -xzof - -C "$new/$id" 2>&1) ||
    {{ printf '%s\n' "$errors" | head -n 2 >&2; say "$0 can't be unpacked into $1"; exit 1; }}
  [ -x "$new/$id/{starter}" ] || {{ say "$1 is mounted with noexec"; exit 1; }}
  # One at a time, so that no start replaces the folder that another has just put there.
  exec 7<"$1"
  ! command -v flock >/dev/null || flock 7
  mv "$new/$id" "$1/" 2>/dev/null || whole "$1/$id" ||
    {{ mv "$1/$id" "$new/damaged" && mv "$new/$id" "$1/"; }} || exit 1
  for old in "$1/{build}-"* "$1/.new-{build}-"*; do
    case $old in "$1/$id" | "$new") continue ;; esac
    [ ! -d "$old" ] || flock -xn "$old" rm -rf "$old" 2>/dev/null
  done
  exit 0
)
find_dir() {{
  if [ -n "${{{unpack_dir}:-}}" ]; then
    first=${unpack_dir}/vmsdk-bundles
    second=$first
  else
    home=
    name=$(id -un 2>/dev/null) || name=
    case $name in '' | *[!A-Za-z0-9._-]*) ;; *) eval "home=~$name" ;; esac
    first=${{home:-/nonexistent}}/.cache/vmsdk/bundles
    ready "$first" && return
    second=/var/tmp/vmsdk-$(id -u)
  fi
  if ready "$first" || ready "$second"; then return; fi
  if [ "$(uname -sm)" != {system} ]; then
    say "this bundle of $vm is for" {system} "and this is $(uname -sm): build one here"
    exit 1
  fi
  first_error=$(unpack "$first" 2>&1) && ready "$first" && return
  second_error=$first_error
  [ "$first" = "$second" ] || {{ second_error=$(unpack "$second" 2>&1) && ready "$second" && return; }}
  printf '%s\n' "$first_error" >&2
  [ "$first_error" = "$second_error" ] || printf '%s\n' "$second_error" >&2
  say "$vm can't be unpacked, as this user has no folder for it (see above): build it with --unpack-dir" \
    "DIR, a folder that belongs to the user who runs the node"
  exit 1
}}
{unpack_dir_default}find_dir
command exec 9<"$dir" && share 9
# Another start may have removed it before it was locked.
[ -f "$dir/{starter}" ] || exec "$0" "$@"
{find_python}{settings}exec "$python" {flags} "$dir/{starter}" "$@"
"""

_PYTHON_INSIDE = """\
python=$dir/{executable}
export LD_LIBRARY_PATH="$dir/{libraries}"
"""
_PYTHON_OUTSIDE = """\
python=${{{variable}:-}}
for folder in {folders}; do
  [ -n "$python" ] || [ ! -x "$folder/{name}" ] || python=$folder/{name}
done
if [ -z "$python" ]; then
  say {missing}
  exit 127
fi
"""

# Before the packages, as in a virtual environment, comes the standard library.
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
    """Folders that a module names next to itself and that aren't in, with the module."""
    packages: list[str]
    """The packages, as in `grpcio 1.85.3`."""
    needs: str
    """What the node's machine must have."""


class _Here(str):
    """A path in the bundle. As Python code, it is that where the bundle was unpacked."""

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
    is inside as well. It unpacks itself into *unpack_dir*, by default into the home of the node's
    user, or a folder of that user's in /var/tmp. *options* are fields of `Launcher`.

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
    shown = replace(source, file=file, root=None)
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
        starter = tree / _STARTER
        starter.write_bytes(_starter(launcher, source, tree))
        starter.chmod(0o755)
        with _hint():
            found = vm_name([*_interpreter_command(tree, python=python), starter], source)
        launcher = replace(launcher, name=name or found)
        vm = vm_id(launcher.name)
        _compile(tree)
        starter.write_bytes(_starter(launcher, source, tree))
        data = _with_archive(launcher, vm, tree, python=python, unpack_dir=unpack_dir)
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
        f"{_system()} with " + (_libc() if python else f"{interpreter.NAME} in {', '.join(PYTHON_FOLDERS)}"),
    )


def has_python() -> bool:
    """Return whether this machine has the Python that a bundle looks for."""
    return any(os.access(f"{folder}/{interpreter.NAME}", os.X_OK) for folder in PYTHON_FOLDERS)


def _fill(tree: Path, files: Mapping[str, Path]) -> None:
    """Copy *files* into *tree*."""
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
    return [*flags, *FLAGS, "-S", "-B"]  # what is compiled now would depend on the time


def _archive(tree: Path) -> bytes:
    """Return *tree* as a compressed tar archive, which depends on names and contents only."""
    compressed = io.BytesIO()
    # Level 9 takes 6 s more for 1 %.
    with (
        gzip.GzipFile("", "wb", 6, mtime=0, fileobj=compressed) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for file in sorted(each for each in tree.rglob("*") if each.is_file()):
            entry = tarfile.TarInfo(file.relative_to(tree).as_posix())
            entry.size, entry.mtime = file.stat().st_size, _TIME_S
            entry.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return compressed.getvalue()


def _with_archive(launcher: Launcher, vm: ID, tree: Path, *, python: bool, unpack_dir: str | None) -> bytes:
    archive = _archive(tree)
    # With Python inside and without are two bundles, which must not remove each other's copy.
    build = f"python-{vm}" if python else str(vm)
    written = {
        "name": launcher.name,
        "target": launcher.target.absolute,
        "protocol": launcher.protocol,
        "ask_parent": launcher.ask_parent,
    }
    missing = (
        f"{launcher.name} needs Python {platform.python_version().rpartition('.')[0]}, and there is no "
        f"{interpreter.NAME} in {', '.join(PYTHON_FOLDERS)}: install it, or build the bundle with --python"
    )
    find_python = (
        _PYTHON_INSIDE.format(executable=interpreter.EXECUTABLE, libraries=interpreter.LIBRARIES)
        if python
        else _PYTHON_OUTSIDE.format(
            variable=PYTHON_VARIABLE,
            folders=" ".join(PYTHON_FOLDERS),
            name=interpreter.NAME,
            missing=shlex.quote(missing),
        )
    )
    default = (
        f"{UNPACK_DIR_VARIABLE}=${{{UNPACK_DIR_VARIABLE}:-{shlex.quote(unpack_dir)}}}\n" if unpack_dir else ""
    )
    text = _TEXT.format(
        name=launcher.name,
        quoted_name=shlex.quote(launcher.name),
        version=__version__,
        written=json.dumps(written),
        folder=f"{build}-{hashlib.sha256(archive).hexdigest()[:16]}",
        build=build,
        starter=_STARTER,
        count=sum(each.is_file() and "__pycache__" not in each.parts for each in tree.rglob("*")),
        system=shlex.quote(_system()),
        unpack_dir=UNPACK_DIR_VARIABLE,
        unpack_dir_default=default,
        find_python=find_python,
        settings=launcher.settings(),
        flags=" ".join((*FLAGS, "-S")),
        lines="{lines}",
    )
    text = text.replace("{lines}", str(text.count("\n") + 1))
    return with_checksum(text.encode("utf-8") + archive)


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


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

    It unpacks itself below *temporary*, or, if that is None, where it does on the node.
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
