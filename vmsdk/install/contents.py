"""What a bundle contains: the VM's code, and the installed packages that it needs."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from vmsdk.errors import MissingExtra
from vmsdk.install.launcher import InstallError
from vmsdk.target import SourceTarget

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CODE = "code"
"""The folder of the VM's code in a bundle."""
PACKAGES = "site-packages"
"""The folder of everything that it imports."""
# The extras that work inside a VM. They are put in if they are installed.
_EXTRAS = ("keys", "metrics", "otel", "warp", "websocket")
# They hold the places and times of an installation.
_RECORDS = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
_COMMENT = re.compile(r"(^|\s)(#| --).*")


class Contents:
    """The files of a bundle, from what is installed for this Python.

    These are what the VM's code imports and its pyproject.toml lists, *requirements*, and
    *include*: files or folders below the VM's folder.

    Raises `InstallError` if something isn't installed or isn't there.
    """

    def __init__(self, source: SourceTarget, requirements: Iterable[str], include: Iterable[Path]) -> None:
        self.files: dict[str, Path] = {}
        """The source of each file, by its path in the bundle."""
        self.distributions: dict[str, metadata.Distribution] = {}
        """The installed packages, by name."""
        self._source = source
        self._providers = metadata.packages_distributions()
        self._seen: set[str | tuple[str, frozenset[str]]] = set()
        self._require_vmsdk()
        for text in (*requirements, *_project_requirements(source)):
            self._require(_requirement(text), source.text)
        self._add_module(source.module.partition(".")[0])
        for path in include:
            self._include(path)

    @property
    def code(self) -> list[str]:
        """The files of the VM's code, relative to its folder."""
        return sorted(name.partition("/")[2] for name in self.files if name.startswith(f"{CODE}/"))

    # Code ----------------------------------------------------------------------------------------

    def _add_module(self, name: str) -> None:
        """Add the top-level module *name* and what it imports."""
        if name in self._seen or name in sys.stdlib_module_names:
            return
        self._seen.add(name)
        root = self._source.root
        if root is not None and (place := _module_in(root, name)) is not None:
            self._add_source(place, CODE)
        elif name in self._providers:
            for distribution in self._providers[name]:
                self._require(_requirement(distribution), self._source.text)
        elif (place := _installed_source(name)) is not None:
            self._add_source(place, PACKAGES)

    def _add_source(self, place: Path, folder: str) -> None:
        """Add a module's file or a package's folder, as they are in a source tree."""
        files = sorted(_files_in(place)) if place.is_dir() else [place]
        for file in files:
            self.files[f"{folder}/{file.relative_to(place.parent).as_posix()}"] = file
        if place.name == "vmsdk":
            return  # what it needs is in its metadata
        for file in files:
            if file.suffix == ".py":
                tree = _parse(file)
                for name in _imports(tree):
                    self._add_module(name)
                if place.is_file() and folder == CODE:
                    for path in _data(tree, file):
                        self._include(path)

    def _include(self, path: Path) -> None:
        root = self._source.root
        path = Path(os.path.abspath(path))
        if root is None or root not in path.parents or not path.exists():
            place = "the VM's folder" if root is None else root
            raise InstallError(f"{path} can't be included: it is not a file or folder in {place}")
        for file in _files_in(path) if path.is_dir() else [path]:
            self.files[f"{CODE}/{file.relative_to(root).as_posix()}"] = file

    # Installed packages --------------------------------------------------------------------------

    def _require_vmsdk(self) -> None:
        self._require(_requirement("vmsdk"), "a VM")
        for extra in _EXTRAS:
            needed = [
                each
                for text in metadata.requires("vmsdk") or []
                if (each := _requirement(text)).marker is not None and _applies(each, (extra,), base=False)
            ]
            if all(map(_is_installed, needed)):
                self._require(_requirement(f"vmsdk[{extra}]"), "a VM")

    def _require(self, requirement: Requirement, by: str) -> None:
        """Add the installed package *requirement*, which *by* needs, and all that it needs."""
        key = (requirement.name.lower().replace("_", "-"), frozenset(requirement.extras))
        if key in self._seen:
            return
        self._seen.add(key)
        cure = f"pip install {shlex.quote(str(requirement))}"
        try:
            found = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            raise InstallError(f"{by} needs {requirement}, which is not installed here: {cure}") from None
        if not requirement.specifier.contains(found.version, prereleases=True):
            raise InstallError(f"{by} needs {requirement}, but {found.version} is installed here: {cure}")
        self._add_distribution(found)
        for text in found.requires or []:
            if _applies(needed := _requirement(text), tuple(requirement.extras), base=True):
                self._require(needed, found.name)

    def _add_distribution(self, distribution: metadata.Distribution) -> None:
        if distribution.name in self.distributions:
            return
        self.distributions[distribution.name] = distribution
        if distribution.files is None:
            raise InstallError(
                f"{distribution.name} was not installed by pip, so its files are unknown: make a virtual "
                f"environment, and pip install {distribution.name} and vmsdk there"
            )
        editable = _is_editable(distribution)
        for file in distribution.files:
            is_record = file.parent.suffix == ".dist-info" and file.name in _RECORDS
            is_link = editable and file.parent.suffix != ".dist-info"
            if not (is_record or is_link or ".." in file.parts or "__pycache__" in file.parts):
                self.files[f"{PACKAGES}/{file.as_posix()}"] = Path(str(distribution.locate_file(file)))
        if editable:
            self._add_editable(distribution)

    def _add_editable(self, distribution: metadata.Distribution) -> None:
        names = [each for each, providers in self._providers.items() if distribution.name in providers]
        # setuptools installs a module __editable___…_finder, which knows the places.
        names = [each for each in names if not each.startswith("__editable__")]
        sources = map(_installed_source, names or [distribution.name.replace("-", "_")])
        places = [each for each in sources if each is not None]
        if not places:  # such as a namespace package, which has no file of its own
            raise InstallError(
                f"{distribution.name} is installed as editable, and its files are not found: pip install its "
                "folder without -e"
            )
        for place in places:
            self._add_source(place, PACKAGES)


def read_requirements(path: Path) -> list[str]:
    """Return the requirements in a file of pip's. Raises `InstallError`."""
    try:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    except (OSError, UnicodeDecodeError) as error:
        raise InstallError(f"{path} can't be read: {error}") from None
    lines = [line for each in text.splitlines() if (line := _COMMENT.sub("", each).strip())]
    for line in lines:
        if line.startswith("-"):
            raise InstallError(f"{path}: {line!r} is an option of pip, not a requirement: leave it out")
    return lines


def _requirement(text: str) -> Requirement:
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ModuleNotFoundError:
        raise MissingExtra("vmsdk bundle", package="packaging", extra="bundle") from None
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise InstallError(f"{text!r} is not a requirement such as coincurve>=20: {error}") from None


def _project_requirements(source: SourceTarget) -> list[str]:
    """Return what the pyproject.toml of the VM's project lists, without the project itself."""
    if source.root is None:
        return []
    folders = (source.root, *source.root.parents)
    file = next((each for folder in folders if (each := folder / "pyproject.toml").is_file()), None)
    if file is None:
        return []
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        try:
            import tomli as tomllib
        except ModuleNotFoundError:
            raise MissingExtra("vmsdk bundle", package="tomli", extra="bundle") from None
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError) as error:
        raise InstallError(f"{file} can't be read: {error}") from None
    return [
        each for each in project.get("dependencies", []) if _requirement(each).name != project.get("name")
    ]


def _applies(requirement: Requirement, extras: Iterable[str], *, base: bool) -> bool:
    marker = requirement.marker
    if marker is None or (base and marker.evaluate({"extra": ""})):
        return base
    return any(marker.evaluate({"extra": extra}) for extra in extras)


def _is_installed(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _is_editable(distribution: metadata.Distribution) -> bool:
    origin = distribution.read_text("direct_url.json")
    return origin is not None and bool(json.loads(origin).get("dir_info", {}).get("editable"))


def _module_in(root: Path, name: str) -> Path | None:
    """Return the file of the module or the folder of the package *name* in *root*."""
    if (root / name / "__init__.py").is_file():
        return root / name
    if (root / f"{name}.py").is_file():
        return root / f"{name}.py"
    return root / name if any((root / name).glob("*.py")) else None


def _installed_source(name: str) -> Path | None:
    """Return the place of a module in a source tree, as after an editable install."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # such as __main__
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    place = Path(spec.origin)
    return place.parent if place.name == "__init__.py" else place


def _files_in(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__" and not each.startswith(".")]
        yield from (Path(path, name) for name in names if not name.startswith("."))


def _parse(file: Path) -> ast.AST:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are shown when the module is imported
            return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return ast.Pass()  # the same


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def _data(tree: ast.AST, file: Path) -> Iterator[Path]:
    """Yield the files next to *file* that it names, if it looks for files relative to itself."""
    if any(isinstance(node, ast.Name) and node.id == "__file__" for node in ast.walk(tree)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_name(node.value):
                path = file.parent / node.value
                if path != file and path.is_file():  # a folder's name is often just a word
                    yield path


def _is_name(text: str) -> bool:
    return text.isprintable() and not {"", ".", ".."} & set(text.split("/")) and len(text) < 256
