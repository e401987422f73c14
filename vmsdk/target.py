"""What the commands call a target: a VM's source, or a plugin's executable.

`path/vm.py`, `path/vm.py:Class`, `package.module`, `package.module:Class`, or the path of an
executable in any language.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.vm import ChainVM

_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_PACKAGE_FILE = "__init__.py"


class TargetError(VMError):
    """A target does not name a VM. *target* is the text that was given."""

    def __init__(self, target: str, problem: str) -> None:
        self.target = target
        self.problem = problem
        super().__init__(f"{target}: {problem}")


class TargetNotFound(TargetError):
    """There is no such file, module or class."""


class NoVM(TargetError):
    """The source exists, but has no VM that can run."""


class SeveralVMs(TargetError):
    """The source has more than one VM. *names* are their classes."""

    def __init__(self, target: str, names: list[str]) -> None:
        self.names = names
        super().__init__(
            target, f"has {len(names)} VMs ({', '.join(names)}): choose one, such as {target}:{names[0]}"
        )


class UnfinishedVM(NoVM):
    """The class lacks methods that every VM must have. *missing* are their names."""

    def __init__(self, target: str, name: str, missing: list[str]) -> None:
        self.name = name
        self.missing = missing
        super().__init__(target, f"the class {name} can't run yet: it has no {', '.join(missing)}")


@dataclass(frozen=True)
class SourceTarget:
    """A VM in Python source."""

    text: str
    """As it was given."""
    module: str
    """The module's full name, such as `package.vm`; of a file outside any package, the file's."""
    file: Path | None
    """The file, absolute; None if a module was named."""
    attribute: str | None
    """The class in the module; None for the only one."""
    root: Path
    """The folder that belongs on `sys.path`: of the file or its outermost package, else the current
    one.
    """

    def load(self) -> type[ChainVM]:
        """Import the source and return the VM's class. Puts `root` onto `sys.path`.

        Raises `TargetNotFound`, `NoVM`, `UnfinishedVM`, `SeveralVMs`, and whatever the source
        raises.
        """
        if str(self.root) not in sys.path[:1]:
            sys.path.insert(0, str(self.root))
        module = self._import()
        found = self._only_vm(module) if self.attribute is None else self._named_vm(module, self.attribute)
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise UnfinishedVM(self.text, found.__name__, missing)
        return found

    @property
    def code(self) -> Path:
        """Where changes concern the VM: the folder of the file, or of the outermost package."""
        top, dot, _ = self.module.partition(".")
        if self.file is not None:
            return self.root / top if dot or self.file.name == _PACKAGE_FILE else self.root
        spec = importlib.machinery.PathFinder.find_spec(top, [str(self.root), *sys.path])
        return Path(spec.origin).parent if spec is not None and spec.origin else self.root

    def _import(self) -> ModuleType:
        if self.file is not None and "." not in self.module and self.file.name != _PACKAGE_FILE:
            return self._import_file(self.file)
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            # It is missing itself, not something that it imports.
            if error.name is not None and f"{self.module}.".startswith(f"{error.name}."):
                raise TargetNotFound(
                    self.text,
                    f"there is no module {error.name} in {self.root} or the installed packages: "
                    "give a file as path/vm.py",
                ) from None
            raise

    def _import_file(self, file: Path) -> ModuleType:
        # Any file name will do, even if it is not an identifier or is that of an imported module.
        name = self.module if self.module not in sys.modules else f"{self.module} (target)"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None  # the file ends in .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def _named_vm(self, module: ModuleType, attribute: str) -> type[ChainVM]:
        found: object = module
        for name in attribute.split("."):
            found = getattr(found, name, None)
        if found is None:
            known = ", ".join(each.__name__ for each in _vms(module)) or "none"
            raise TargetNotFound(self.text, f"there is no class {attribute}; the VMs there: {known}")
        if not (isinstance(found, type) and issubclass(found, ChainVM)):
            raise NoVM(self.text, f"{attribute} is not a class derived from vmsdk.ChainVM")
        return found

    def _only_vm(self, module: ModuleType) -> type[ChainVM]:
        candidates = _vms(module)
        finished = [each for each in candidates if not inspect.isabstract(each)]
        if len(finished) > 1:
            raise SeveralVMs(self.text, sorted(each.__name__ for each in finished))
        if not candidates:
            raise NoVM(self.text, "there is no class derived from vmsdk.ChainVM")
        return (finished or candidates)[0]


@dataclass(frozen=True)
class ExecutableTarget:
    """An existing plugin, in any language."""

    text: str
    """As it was given."""
    file: Path
    """The executable, absolute."""

    @property
    def name(self) -> str:
        """What the VM is called: what its file's name says as a VM ID, else the file's name
        itself.
        """
        try:
            name = ID.from_string(self.file.stem).rstrip(b"\0").decode("ascii")
        except (VMError, UnicodeDecodeError):
            return self.file.stem
        return name if name.isprintable() and name else self.file.stem


Target = SourceTarget | ExecutableTarget


def find(text: str) -> Target:
    """What *text* names. Imports and starts nothing. Raises `TargetNotFound` or `NoVM`."""
    where, colon, attribute = text.rpartition(":")
    if not colon:
        where, attribute = text, ""
    path = Path(where)
    if where.endswith(".py") or os.sep in where or path.is_file():
        return _find_file(text, path, attribute or None)
    if not _MODULE_NAME.fullmatch(where):
        raise TargetNotFound(text, "there is no such file, and it is not a valid module name")
    return SourceTarget(text, where, None, attribute or None, Path.cwd())


def _find_file(text: str, path: Path, attribute: str | None) -> Target:
    if path.is_dir():
        raise NoVM(text, f"{path} is a folder: give the file of the VM in it")
    if not path.is_file():
        raise TargetNotFound(text, f"there is no file {path}")
    file = path.absolute()
    if file.suffix == ".py":
        root, names = file.parent, [file.stem]
        if file.name == _PACKAGE_FILE:
            root, names = root.parent, [root.name]
        while (root / _PACKAGE_FILE).is_file():
            root, names = root.parent, [root.name, *names]
        return SourceTarget(text, ".".join(names), file, attribute, root)
    if not os.access(file, os.X_OK):
        raise NoVM(text, f"{path} is neither Python source (.py) nor executable: chmod +x {path}")
    if attribute is not None:
        raise NoVM(text, f"{path} is an executable: it has no class to choose, leave :{attribute} out")
    return ExecutableTarget(text, file)


def _vms(module: ModuleType) -> list[type[ChainVM]]:
    """The VMs that the module defines; where it defines none, those that it imports from
    elsewhere.
    """
    classes = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ChainVM) and not _is_ours(value)
    }
    own = {each for each in classes if each.__module__ == module.__name__}
    return sorted(own or classes, key=lambda each: each.__name__)


def _is_ours(value: type) -> bool:
    return value.__module__.partition(".")[0] == "vmsdk"
