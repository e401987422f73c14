"""A plugin directory, read as a node reads it: the names of its files."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vmsdk.doctor.file import PluginFile
from vmsdk.doctor.finding import Finding, quoted
from vmsdk.doctor.user import User
from vmsdk.errors import VMError
from vmsdk.ids import ID, vm_id
from vmsdk.install.plugindirectory import stem

_ALIASES = Path("configs", "vms", "aliases.json")
_NO_START = 'the node does not start: invalid vmID: "{}"'
_UNREADABLE = "the node does not start"
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{30,60}")
_NOT_BASE58 = re.compile(r"[0OIl]")
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")
_NAME = re.compile(r"[A-Za-z][\w-]{0,31}", re.ASCII)
_BUILT_IN = {vm_id(name): name for name in ("avm", "evm", "platformvm")}


def aliases(directory: Path) -> dict[str, ID]:
    """Return the VM aliases in the node's configuration, if it is where nodes look by default.

    Raises `VMError` if a node can't read them.
    """
    file = directory.parent / _ALIASES
    try:
        given: Any = json.loads(file.read_text(encoding="utf-8"))
        return {alias: ID.from_string(vm) for vm, names in given.items() for alias in names}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, TypeError, VMError) as error:
        raise VMError(str(error)) from None


def vm_of(path: Path, known: Mapping[str, ID]) -> ID | None:
    """Return the VM ID that a node derives from the file's name, or None. *known* are aliases."""
    name = stem(path.name)
    try:
        return known.get(name) or ID.from_string(name)
    except VMError:
        return None


class PluginFolder:
    """The plugin directory at *path*, as a node of *user* sees it."""

    def __init__(self, path: Path, user: User) -> None:
        self.path = path.absolute()
        self.user = user
        self.findings: list[Finding] = []
        """What is wrong with the directory and its names."""
        self.plugins: list[tuple[Path, ID]] = []
        """The files that a node starts, each with its VM."""
        self._aliases: Mapping[str, ID] = {}
        names = self._names()
        if names is None:
            return
        try:
            self._aliases = aliases(self.path)
        except VMError as error:
            file = self.path.parent / _ALIASES
            what = f"the aliases of VMs can't be read: {error}"
            cure = 'write {"VM_ID": ["alias"]}, or remove the file'
            self.findings.append(Finding("error", "aliases", str(file), what, cure, node=_UNREADABLE))
        self.findings += self._read(names)
        self.findings += self._writable()

    def _names(self) -> list[str] | None:
        path, user = self.path, self.user
        try:
            with user.acting():
                return sorted(os.listdir(path), key=os.fsencode)
        except FileNotFoundError:
            missing = next(
                (each for each in (*reversed(path.parents), path) if not os.path.lexists(each)), path
            )
            place = "the plugin directory" if missing == path else f"its parent {missing}"
            self._error(
                "no-directory",
                f"{place} does not exist",
                f"mkdir -p {quoted(path)}, or correct the node's --plugin-dir",
                "plugin dir … not found, if --plugin-dir names it",
            )
        except NotADirectoryError:
            self._error(
                "not-a-directory",
                "this is a file, not a plugin directory",
                "give the directory that the file is in",
                "plugin dir is not a directory",
            )
        except PermissionError:
            barrier = next(iter(user.barriers([path], os.X_OK | os.R_OK)), path)
            mode = stat.filemode(barrier.stat().st_mode)
            self._error(
                "unreadable",
                f"the user {user.name} can't list this directory: {barrier} is {mode}",
                f"chmod o+rx {quoted(barrier)}, or chown it to {user.name}",
                "the node does not start: permission denied",
            )
        except OSError as error:
            self._error(
                "unreadable",
                f"this directory can't be listed: {error.strerror or error}",
                "check the file system: dmesg",
                "the node does not start",
            )
        return None

    def _read(self, names: list[str]) -> Iterator[Finding]:
        users: dict[ID, Path] = {}
        for name in names:
            path = self.path / name
            if not stem(name):
                continue
            vm = vm_of(path, self._aliases)
            if os.path.isdir(path) and not os.path.islink(path):
                if vm is not None:
                    yield self._folder(path)
            elif vm is None:
                yield wrong_name(PluginFile(path, self.user))
            elif vm in _BUILT_IN:
                yield Finding(
                    "error",
                    "built-in",
                    str(path),
                    f"{_BUILT_IN[vm]} is a VM of the node itself, which ignores this file",
                    "give the VM another name",
                )
            else:
                if vm in users:
                    yield Finding(
                        "error",
                        "duplicate",
                        str(users[vm]),
                        f"this and {path} are the same VM, and a node uses only the last, {name}",
                        "remove one of them; keep old versions outside of the plugin directory",
                    )
                users[vm] = path
                self.plugins.append((path, vm))
                yield from self._renamed(path, vm)
        if not self.plugins and not self.findings:
            inside = next((each for each in sorted(self.path.glob("*/*")) if vm_of(each, {})), None)
            what = "there is no plugin in this directory"
            cure = f"vmsdk install TARGET --plugin-dir {quoted(self.path)}"
            if inside is not None:
                what += f": {inside} is in a folder, and a node ignores folders"
                cure = f"mv {quoted(inside)} {quoted(self.path)}"
            yield Finding("note", "no-plugins", str(self.path), what, cure)

    def _folder(self, path: Path) -> Finding:
        files = (each for each in sorted(path.rglob("*")) if os.path.isfile(each))
        inside = next((each for each in files if os.access(each, os.X_OK)), None)
        hint = "" if inside is None else f" (is {inside} the plugin?)"
        what = "this is a directory, and a node ignores directories: the VM is missing"
        cure = f"put the plugin's executable in its place{hint}"
        return Finding("error", "not-a-file", str(path), what, cure)

    def _renamed(self, path: Path, vm: ID) -> Iterator[Finding]:
        launcher = PluginFile(path, self.user).launcher
        if launcher is not None and vm_id(launcher.name) != vm:
            ours = vm_id(launcher.name)
            yield Finding(
                "warning",
                "other-name",
                str(path),
                f"vmsdk installed this file for {launcher.name}, whose ID is {ours}",
                f"if chains were created with {ours}: mv {quoted(path)} {quoted(path.with_name(str(ours)))}",
            )

    def _writable(self) -> Iterator[Finding]:
        mode = self.path.stat().st_mode
        if mode & stat.S_IWOTH:
            yield Finding(
                "warning",
                "world-writable",
                str(self.path),
                "every user of this machine can put files here, and so run code as the node's user",
                f"chmod o-w {quoted(self.path)}",
            )

    def _error(self, code: str, what: str, cure: str, node: str) -> None:
        self.findings.append(Finding("error", code, str(self.path), what, cure, node=node))


def wrong_name(file: PluginFile) -> Finding:
    """Return the finding for a file whose name is not a VM ID."""
    path, name = file.path, stem(file.path.name)
    node = _NO_START.format(name)
    executable = file.mode is not None and file.mode & 0o111 != 0
    suffix = ".exe" if path.suffix == ".exe" else ""
    called = file.launcher.name if file.launcher is not None else name
    copied = _BASE58.search(name)
    original = None if copied is None or copied[0] == name else vm_of(Path(copied[0]), {})
    in_hex = _HEX.fullmatch(name)
    if os.path.islink(path) and os.path.isdir(path):
        what, cure = "this is a symbolic link to a folder, which a node treats as a plugin", "remove the link"
    elif original is not None and name.strip() == str(original):
        what = "its name is a VM ID with a space or line end beside it"
        cure = f"mv {quoted(path)} {quoted(path.with_name(str(original)))}"
    elif original is not None:
        what, cure = (
            f"its name is a VM ID with something added, like that of a copy of {original}",
            "move it out of the plugin directory",
        )
        if not os.path.lexists(path.with_name(str(original))):
            cure += f", or, if it is the plugin: mv {quoted(path)} {quoted(path.with_name(str(original)))}"
    elif file.launcher is not None:
        what = f"its name is not the ID of its VM, {called}"
        cure = f"mv {quoted(path)} {quoted(path.with_name(str(vm_id(called))))}"
    elif in_hex is not None:
        what = "its name is a VM ID in hexadecimal, and a node reads only CB58"
        cure = f"mv {quoted(path)} {quoted(path.with_name(str(ID(bytes.fromhex(in_hex[1])))))}"
    elif _BASE58.fullmatch(_NOT_BASE58.sub("1", name)):
        wrong = _NOT_BASE58.search(name)
        why = "its checksum is wrong" if wrong is None else f"no ID has the character {wrong[0]}"
        what = f"its name looks like a VM ID, but {why}: it was mistyped or cut"
        cure = "compare it with the ID of the chain's VM, and rename the file"
    elif _NAME.fullmatch(called) and (executable or not os.path.exists(path)):
        what = f"its name is not a VM ID; the VM called {called} has the ID {vm_id(called)}"
        cure = (
            f"mv {quoted(path)} {quoted(path.with_name(str(vm_id(called)) + suffix))}; if it is not a plugin,"
            " move it out of the directory"
        )
    else:
        what = "this file is not a plugin: its name is neither a VM ID nor an alias"
        cure = (
            "move it out of the plugin directory, which may only contain plugins, folders and names like"
            " .this"
        )
    return Finding("error", "wrong-name", str(path), what, cure, node=node)
