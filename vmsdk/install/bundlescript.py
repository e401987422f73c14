"""A bundle's file: a shell script, which unpacks the archive that follows it and starts the VM."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shlex
import tarfile
from pathlib import Path

from vmsdk._version import __version__
from vmsdk.ids import ID
from vmsdk.install import interpreter
from vmsdk.install.launcher import FLAGS, Launcher, with_checksum

UNPACK_DIR_VARIABLE = "VMSDK_UNPACK_DIR"
"""The environment variable for another folder to unpack into. A node doesn't set it."""
PYTHON_VARIABLE = "VMSDK_PYTHON"
"""The environment variable for another interpreter. A node doesn't set it."""
PYTHON_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin")
"""Where a bundle looks for Python, since a node sets no PATH."""
STARTER = "start"
"""The file in the archive that Python runs."""
# The earliest time in the zip format: some tools refuse earlier ones.
_TIME_S = 315_532_800

_TEXT = r"""#!/bin/sh
# The plugin of the VM {name!r}, built by vmsdk {version}.
# vmsdk-bundle {written}
# vmsdk-launcher sha256:
vm={quoted_name}
id={folder}
say() {{ printf 'vmsdk: %s\n' "$*" >&2; }}
# Whether this user owns the folder $1, and it is not a link: then nobody else can change it.
owned() {{ [ -O "$1" ] && [ -d "$1" ] && [ ! -L "$1" ]; }}
# Whether the folder $1 has all files: a cleaner of /var/tmp may have removed some, and a power cut
# after unpacking leaves empty ones. Python itself adds only __pycache__. In a folder that is mounted
# with noexec, no file is executable.
whole() {{
  [ -x "$1/{starter}" ] || return 1
  ! command -v find >/dev/null ||
    [ "$(find "$1" -name __pycache__ -prune -o -type f -size +0c -print | wc -l)" -ge {count} ]
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
  if command -v gzip >/dev/null && ! tail -n +{lines} "$0" | gzip -t 2>/dev/null; then
    say "$0 is damaged: copy it again, and compare its SHA-256 with the original's"
    exit 1
  fi
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


def _archive(tree: Path) -> bytes:
    """Return *tree* as a compressed tar archive that depends only on names and contents."""
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


def with_archive(launcher: Launcher, vm: ID, tree: Path, *, python: bool, unpack_dir: str | None) -> bytes:
    """Return the file that unpacks *tree* and starts the VM *vm* from it."""
    archive = _archive(tree)
    # Bundles with and without Python must not remove each other's copies.
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
        starter=STARTER,
        count=sum(
            each.is_file() and each.stat().st_size > 0 and "__pycache__" not in each.parts
            for each in tree.rglob("*")
        ),
        system=shlex.quote(system()),
        unpack_dir=UNPACK_DIR_VARIABLE,
        unpack_dir_default=default,
        find_python=find_python,
        settings=launcher.settings(),
        flags=" ".join((*FLAGS, "-S")),
        lines="{lines}",
    )
    text = text.replace("{lines}", str(text.count("\n") + 1))
    return with_checksum(text.encode("utf-8") + archive)


def system() -> str:
    """Return the operating system and the processor, as `uname -sm` prints them."""
    return f"{platform.system()} {platform.machine()}"
