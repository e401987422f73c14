"""A target on the command line: a VM's source, or a plugin's executable.

`path/vm.py`, `path/vm.py:Class`, `package.module`, `package.module:Class`, or the path of an
executable in any language.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from vmsdk.annotations import signature
from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.vm import ChainVM, check_interfaces

_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_PACKAGE_FILE = "__init__.py"
# Folders of installed packages, which come after the standard library on `sys.path`.
_PACKAGES = ("site-packages", "dist-packages")


class TargetError(VMError):
    """There is no VM at a target."""

    def __init__(self, target: str, problem: str) -> None:
        super().__init__(f"{target}: {problem}")


class SourceTarget(NamedTuple):
    """A VM in Python source, wherever the current folder is."""

    text: str
    """The target as given by the user."""
    module: str
    """The module's full name, such as `package.vm`."""
    file: Path | None
    """The module's file, absolute; None for an installed module."""
    attribute: str | None
    """The class's name in the module; None for the only VM."""
    root: Path | None
    """The folder of the file or its outermost package, for `sys.path`; None if installed."""

    @property
    def absolute(self) -> str:
        """The target as text that does not depend on the current folder."""
        attribute = "" if self.attribute is None else f":{self.attribute}"
        return f"{self.file or self.module}{attribute}"

    @property
    def code(self) -> Path:
        """The folder of the VM's code: that of the file or of the outermost package."""
        top, dot, _ = self.module.partition(".")
        if self.root is not None:
            in_package = dot or self.file is None or self.file.name == _PACKAGE_FILE
            return self.root / top if in_package and (self.root / top).is_dir() else self.root
        spec = importlib.util.find_spec(top)
        return Path(spec.origin).parent if spec is not None and spec.origin else Path.cwd()

    def load(self) -> type[ChainVM]:
        """Import the source and return the VM's class. Adds `root` to `sys.path`.

        Raises `TargetError` if there is no such VM, and what the source raises.
        """
        if self.root is not None:
            _add_to_path(str(self.root))
        module = self._import()
        found = self._only_vm(module) if self.attribute is None else self._named_vm(module, self.attribute)
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise self._error(f"the class {found.__name__} lacks {', '.join(missing)}")
        check_interfaces(found)
        self._check_arguments(found)
        return found

    def _check_arguments(self, found: type[ChainVM]) -> None:
        if found.__init__ is object.__init__ and found.__new__ is object.__new__:
            return  # sooner than inspect says that this one takes none
        try:
            signature(found).bind()
        except ValueError:
            pass  # written in C
        except TypeError as error:
            raise self._error(
                f"{found.__name__}.__init__ takes arguments ({error}), but vmsdk passes none: give them "
                "defaults. A chain's settings reach `initialize` as config"
            ) from None

    def _error(self, problem: str) -> TargetError:
        return TargetError(self.text, problem)

    def _import(self) -> ModuleType:
        if self.file is not None and self.file.parent == self.root:
            return self._import_file(self.file)
        top = self.module.partition(".")[0]
        if self.root is not None and top in sys.stdlib_module_names:
            raise self._error(f"the package {top} has the name of a module of Python itself: rename it")
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            # The module itself is missing, not one that it imports.
            if error.name is not None and f"{self.module}.".startswith(f"{error.name}."):
                raise self._error(_no_module(error.name, self.root)) from None
            raise

    def _import_file(self, file: Path) -> ModuleType:
        # By its own name, as multiprocessing's workers do, if that imports this file. Otherwise
        # another module has that name, such as one of Python's.
        if self.module not in sys.modules and "." not in self.module:
            found = importlib.util.find_spec(self.module)
            if found is not None and found.origin and Path(found.origin) == file:
                return importlib.import_module(self.module)
        name = f"{self.module} (target)"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None  # the file ends in .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except FileNotFoundError as error:
            if error.filename == str(file):
                raise self._error(f"there is no file {file}") from None
            raise
        return module

    def _named_vm(self, module: ModuleType, attribute: str) -> type[ChainVM]:
        found: object = module
        for name in attribute.split("."):
            found = getattr(found, name, None)
        if found is None:
            known = ", ".join(each.__name__ for each in _vms(module)) or "none"
            raise self._error(f"there is no class {attribute}; the VMs there: {known}")
        if not (isinstance(found, type) and issubclass(found, ChainVM)):
            raise self._error(f"{attribute} is not a class derived from vmsdk.ChainVM")
        return found

    def _only_vm(self, module: ModuleType) -> type[ChainVM]:
        candidates = _vms(module)
        finished = sorted(each.__name__ for each in candidates if not inspect.isabstract(each))
        if len(finished) > 1:
            raise self._error(
                f"has {len(finished)} VMs ({', '.join(finished)}): choose one, such as "
                f"{self.text}:{finished[0]}"
            )
        if not candidates:
            raise self._error("there is no class derived from vmsdk.ChainVM")
        return next((each for each in candidates if not inspect.isabstract(each)), candidates[0])


class ExecutableTarget(NamedTuple):
    """A plugin's executable, in any language."""

    text: str
    """The target as given by the user."""
    file: Path
    """The executable, absolute."""

    @property
    def name(self) -> str:
        """The VM's name: decoded from the file's name if that is a VM ID, else the file's stem."""
        try:
            name = ID.from_string(self.file.stem).rstrip(b"\0").decode("ascii")
        except (VMError, UnicodeDecodeError):
            return self.file.stem
        return name if name.isprintable() and name else self.file.stem


Target = SourceTarget | ExecutableTarget


def find(text: str) -> Target:
    """Look *text* up in the current folder, without importing it. Raises `TargetError`."""
    where, colon, attribute = text.rpartition(":")
    # Folders and files may have a colon in their names.
    if not colon or not _MODULE_NAME.fullmatch(attribute) or Path(text).is_file():
        where, attribute = text, ""
    path = Path(where)
    if where.endswith(".py") or os.sep in where or path.is_file():
        return _find_file(text, path, attribute or None)
    if not _MODULE_NAME.fullmatch(where):
        raise TargetError(text, "there is no such file, and it is not a valid module name")
    return _find_module(text, where, attribute or None)


def _find_module(text: str, module: str, attribute: str | None) -> SourceTarget:
    top = module.partition(".")[0]
    try:
        root: Path | None = Path.cwd()
    except FileNotFoundError:
        root = None  # the current folder was deleted
    if root is not None:
        place = root.joinpath(*module.split("."))
        for file in (place / _PACKAGE_FILE, place.with_name(f"{place.name}.py")):
            if file.is_file():
                return SourceTarget(text, module, file, attribute, root)
        if (root / top / _PACKAGE_FILE).is_file():
            return SourceTarget(text, module, None, attribute, root)
    if importlib.util.find_spec(top) is None:
        raise TargetError(text, _no_module(top, root))
    return SourceTarget(text, module, None, attribute, None)


def _find_file(text: str, path: Path, attribute: str | None) -> Target:
    if path.is_dir():
        raise TargetError(text, f"{path} is a folder: give the file of the VM in it")
    if not path.is_file():
        raise TargetError(text, f"there is no file {path}")
    try:
        file = path.absolute()
    except FileNotFoundError:
        raise TargetError(text, "the current folder was deleted: give an absolute path") from None
    if file.suffix == ".py":
        root, names = file.parent, [file.stem]
        if file.name == _PACKAGE_FILE:
            root, names = root.parent, [root.name]
        while (root / _PACKAGE_FILE).is_file():
            root, names = root.parent, [root.name, *names]
        return SourceTarget(text, ".".join(names), file, attribute, root)
    if not os.access(file, os.X_OK):
        raise TargetError(text, f"{path} is neither Python source (.py) nor executable: chmod +x {path}")
    if attribute is not None:
        raise TargetError(text, f"{path} is an executable, which has no classes: remove :{attribute}")
    return ExecutableTarget(text, file)


def _no_module(name: str, root: Path | None) -> str:
    place = "" if root is None else f"{root} or "
    return f"there is no module {name} in {place}the installed packages: give a file as path/vm.py"


def _add_to_path(folder: str) -> None:
    """Put *folder* after the standard library, so that no file in it hides a module of Python."""
    if folder not in sys.path:
        packages = (index for index, each in enumerate(sys.path) if os.path.basename(each) in _PACKAGES)
        sys.path.insert(next(packages, len(sys.path)), folder)


def _vms(module: ModuleType) -> list[type[ChainVM]]:
    """Return the VMs that the module defines, or else those that it imports."""
    classes = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ChainVM) and not _is_ours(value)
    }
    own = {each for each in classes if each.__module__ == module.__name__}
    return sorted(own or classes, key=lambda each: each.__name__)


def _is_ours(value: type) -> bool:
    return value.__module__.partition(".")[0] == "vmsdk"
