"""The files of the running interpreter: its executable, its library, and the shared libraries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from vmsdk.install.launcher import InstallError

FOLDER = "python"
"""The interpreter's folder in a bundle."""
LIBRARIES = f"{FOLDER}/lib"
"""The folder of its shared libraries."""
NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
EXECUTABLE = f"{FOLDER}/bin/{NAME}"
# Tests, the GUI and installers, which no VM needs.
_LEFT_OUT = re.compile(
    r"(^|/)(test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|config-.*|"
    r"(site|dist)-packages|__pycache__)/|^turtle\.py|^lib-dynload/(_tkinter|_test|_ctypes_test|xx)"
)
# Parts of libc, which every machine has.
_LIBC = re.compile(
    r"(ld-|ld\.|linux-vdso|libc[.-]|libm\.|libmvec|libpthread|libdl\.|librt\.|libutil|libresolv|libnsl|"
    r"libanl|libBrokenLocale|libthread_db|libnss_)"
)
_LIBRARY = re.compile(r"^\s*(\S+) => (/\S.*) \(0x[0-9a-f]+\)$", re.MULTILINE)


def files(others: Iterable[Path]) -> dict[str, Path]:
    """Return the interpreter's files by their path in the bundle.

    Includes the shared libraries that it or an extension module of *others* needs, except libc.
    Raises `InstallError` if this isn't Linux, or a file isn't found.
    """
    if sys.platform != "linux":
        raise InstallError("--python works only on Linux: build the bundle there, such as in a container")
    executable = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    library = Path(sysconfig.get_path("stdlib"))
    found = {EXECUTABLE: executable}
    for file in sorted(library.rglob("*")):
        name = file.relative_to(library).as_posix()
        if file.is_file() and not _LEFT_OUT.search(name):
            found[f"{FOLDER}/{sys.platlibdir}/{NAME}/{name}"] = file
    present = {os.path.realpath(each) for each in others}
    binaries = [each for each in (*found.values(), *map(Path, sorted(present))) if ".so" in each.name]
    for name, path in _LIBRARY.findall(_ldd([executable, *binaries])):
        if not _LIBC.match(name) and os.path.realpath(path) not in present:
            found[f"{LIBRARIES}/{name}"] = Path(path)
    return found


def _ldd(binaries: list[Path]) -> str:
    try:
        done = subprocess.run(["ldd", *binaries], capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        raise InstallError(
            "ldd, which finds the shared libraries of Python, is not here: apt install libc-bin"
        ) from None
    return done.stdout
