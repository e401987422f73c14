"""What a bundle contains: the VM's code, and the installed packages that it needs."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from vmsdk.errors import MissingExtra
from vmsdk.install.launcher import InstallError
from vmsdk.install.sourcecode import arguments, data, imports, parse
from vmsdk.target import SourceTarget

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CODE = "code"
"""The folder of the VM's code in a bundle."""
PACKAGES = "site-packages"
"""The folder of the packages that it imports."""
# The extras that are of use inside a VM: included if they are installed.
_EXTRAS = ("keys", "metrics", "otel", "warp", "websocket")
# They record where and when a package was installed.
_RECORDS = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
# Functions of importlib.metadata whose argument is a package's name.
_OF_PACKAGES = ("distribution", "metadata", "requires", "version")
_COMMENT = re.compile(r"(^|\s)(#| --).*")


class Contents:
    """The files of a bundle, from what is installed for this Python.

    These are what the VM's code imports and its pyproject.toml lists, *requirements*, and
    *include*: files or folders below the VM's folder.

    Raises `InstallError` if something isn't installed, isn't there or can't be read.
    """

    def __init__(self, source: SourceTarget, requirements: Iterable[str], include: Iterable[Path]) -> None:
        self.files: dict[str, Path] = {}
        """The source of each file, by its path in the bundle."""
        self.distributions: dict[str, metadata.Distribution] = {}
        """The installed packages, by name."""
        self._source = source
        self._providers = _providers()
        self._seen: set[str | tuple[str, frozenset[str]]] = set()
        self._places: list[Path] = []  # files and folders included as source trees
        self._named: dict[Path, Path] = {}  # folders, and the module that names each
        importlib.invalidate_caches()
        try:
            self._add(requirements, include)
        except OSError as error:
            raise InstallError(f"{error.filename} can't be read: {error.strerror or error}") from None

    @property
    def code(self) -> list[str]:
        """The files of the VM's code, relative to its folder."""
        return sorted(name.partition("/")[2] for name in self.files if name.startswith(f"{CODE}/"))

    @property
    def left_out(self) -> list[tuple[Path, Path]]:
        """Folders next to a module that it names and that aren't included, with the module."""
        within = {folder for file in self.files.values() for folder in file.parents}
        return sorted(each for each in self._named.items() if each[0] not in within)

    def _add(self, requirements: Iterable[str], include: Iterable[Path]) -> None:
        source = self._source
        self._require_vmsdk()
        project, listed = _project(source)
        for text in (*requirements, *listed):
            if _applies(requirement := _requirement(text), (), base=True):
                self._require(requirement, source.text)
        if source.file is not None and source.file.parent == source.root:
            self._seen.add(source.module)
            self._add_source(source.file, CODE)
        else:
            self._add_module(source.module.partition(".")[0], None)
        if project is not None and _is_recorded(_distribution(project)):
            # Its code is included already, but neither its dependencies nor its metadata.
            self._require(_requirement(project), source.text, with_files=False)
        for path in include:
            self._include(path)
        for package, distribution in self.distributions.items():
            # The project may be installed from another checkout.
            if _canonical(package) != _canonical(project or ""):
                self._check_editable(distribution)

    # Code ----------------------------------------------------------------------------------------

    def _add_module(self, name: str, by: Path | None) -> None:
        """Add the top-level module *name*, which the module *by* imports, and what it imports."""
        if name in self._seen or name in sys.stdlib_module_names:
            return
        self._seen.add(name)
        providers = self._providers.get(name, {})
        places = _places(name, self._source.root)
        for place in places:
            if place.is_dir() and not any(inspect.getmodulename(each) for each in _files_in(place)):
                if by is not None:
                    self._named[place] = by  # not a package: it may hold keys
            elif place.parent == self._source.root:
                self._add_source(place, CODE)
            elif place.parent not in providers.values():
                self._add_source(place, PACKAGES)
                for distribution in metadata.distributions():
                    if _is_below(place, _editable_folder(distribution)):
                        self._require(_requirement(distribution.name), self._source.text)
        for provider, folder in providers.items():
            if not places or any(place.parent == folder for place in places):
                self._require(_requirement(provider), self._source.text)

    def _add_source(self, place: Path, folder: str) -> None:
        """Add a module's file or a package's folder from a source tree."""
        self._places.append(place)
        files = sorted(_files_in(place)) if place.is_dir() else [place]
        for file in files:
            self.files[f"{folder}/{file.relative_to(place.parent).as_posix()}"] = file
        if place.name == "vmsdk":
            return  # its metadata lists what it needs
        for file in files:
            if file.suffix == ".py":
                tree = parse(file)
                for name in imports(tree):
                    self._add_module(name, file)
                for name in arguments(tree, _OF_PACKAGES):
                    if (found := _distribution(name)) is not None:
                        self._require(_requirement(found.name), self._source.text)
                if place.is_file() and folder == CODE:
                    for path in data(tree, file):
                        if path.is_dir():
                            self._named[path] = file
                        else:
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
        optional = [_requirement(text) for text in metadata.requires("vmsdk") or []]
        for extra in _EXTRAS:
            needed = [
                each for each in optional if each.marker is not None and _applies(each, (extra,), base=False)
            ]
            if all(map(_is_installed, needed)):
                self._require(_requirement(f"vmsdk[{extra}]"), "a VM")

    def _require(self, requirement: Requirement, by: str, *, with_files: bool = True) -> None:
        """Add the installed package *requirement*, which *by* needs, and all that it needs."""
        key = (_canonical(requirement.name), frozenset(requirement.extras))
        if key in self._seen:
            return
        self._seen.add(key)
        cure = f"pip install {shlex.quote(str(requirement))}"
        found = _distribution(requirement.name)
        if found is None:
            raise InstallError(f"{by} needs {requirement}, which is not installed here: {cure}")
        if not requirement.specifier.contains(found.version, prereleases=True):
            raise InstallError(f"{by} needs {requirement}, but {found.version} is installed here: {cure}")
        name = found.name
        self._add_distribution(name, found, with_files=with_files)
        for text in found.requires or []:
            if _applies(needed := _requirement(text), tuple(requirement.extras), base=True):
                self._require(needed, name)

    def _add_distribution(
        self, package: str, distribution: metadata.Distribution, *, with_files: bool
    ) -> None:
        if package in self.distributions:
            return
        self.distributions[package] = distribution
        if not _is_recorded(distribution):
            raise InstallError(
                f"{package} was not installed by pip, so its files are unknown: make a virtual "
                f"environment, and pip install {package} and vmsdk there"
            )
        is_editable = _editable_folder(distribution) is not None
        for file in distribution.files or ():
            is_metadata = file.parts[0].endswith(".dist-info")
            is_record = is_metadata and file.name in _RECORDS
            is_code = is_metadata or (with_files and not is_editable)
            if is_code and not (is_record or ".." in file.parts or "__pycache__" in file.parts):
                self.files[f"{PACKAGES}/{file.as_posix()}"] = Path(str(distribution.locate_file(file)))
        if is_editable and with_files:
            for name in _top_level(distribution) or [_canonical(package).replace("-", "_")]:
                self._add_module(name, None)

    def _check_editable(self, distribution: metadata.Distribution) -> None:
        """Raise `InstallError` if *distribution* is editable, and nothing of it is included."""
        folder = _editable_folder(distribution)
        if folder is not None and not any(_is_below(place, folder) for place in self._places):
            raise InstallError(
                f"{distribution.name} is installed as editable, and its modules are not found: pip install "
                f"{folder} without -e"
            )


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


def _project(source: SourceTarget) -> tuple[str | None, list[str]]:
    """Return the name and the dependencies in the pyproject.toml of the VM's project."""
    folders = () if source.root is None else (source.root, *source.root.parents)
    file = next((each for folder in folders if (each := folder / "pyproject.toml").is_file()), None)
    if file is None:
        return None, []
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
    name = project.get("name")
    needed = project.get("dependencies", [])
    # A project may list itself, with extras.
    return name, [each for each in needed if _canonical(_requirement(each).name) != _canonical(name or "")]


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


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(name: str) -> metadata.Distribution | None:
    """Return the installed package, or else what has its metadata, such as its source tree."""
    found = list(metadata.distributions(name=name)) if name else []
    return next(filter(_is_recorded, found), found[0] if found else None)


def _is_recorded(distribution: metadata.Distribution | None) -> bool:
    return distribution is not None and distribution.read_text("RECORD") is not None


def _editable_folder(distribution: metadata.Distribution) -> Path | None:
    """Return the source tree that *distribution* is installed from if it is editable."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))


def _is_below(place: Path, folder: Path | None) -> bool:
    return folder is not None and place.resolve().is_relative_to(folder.resolve())


def _top_level(distribution: metadata.Distribution) -> set[str]:
    """Return the modules and top-level packages of *distribution*."""
    names = set((distribution.read_text("top_level.txt") or "").split())
    # Not by `files`, which takes five times as long.
    for line in (distribution.read_text("RECORD") or "").splitlines():
        top, slash, _ = line.partition(",")[0].strip('"').partition("/")
        names.add(top if slash else inspect.getmodulename(top) or "")
    # setuptools adds a module __editable___…_finder, which has their paths.
    return {each for each in names if each.isidentifier() and not each.startswith("__editable__")}


def _providers() -> dict[str, dict[str, Path]]:
    """Return the packages that provide each module, with the folders that they are installed in."""
    # On Python 3.10, metadata.packages_distributions returns only some of them.
    found: dict[str, dict[str, Path]] = {}
    for distribution in metadata.distributions():
        package = distribution.name  # parses the metadata each time
        folder = Path(os.path.abspath(str(distribution.locate_file(""))))
        for name in _top_level(distribution):
            found.setdefault(name, {}).setdefault(package, folder)
    return found


def _places(name: str, root: Path | None) -> list[Path]:
    """Return the file of a module, the folder of a package, or those of a namespace package."""
    spec = PathFinder.find_spec(name, [*([] if root is None else [str(root)]), *sys.path])
    if spec is None or spec.origin is None:
        try:
            found = importlib.util.find_spec(name)  # by the finders of editable packages
        except (ImportError, ValueError):  # such as __main__
            found = None
        spec = found if spec is None or (found is not None and found.origin is not None) else spec
    if spec is None:
        return []
    if spec.origin is None:
        return [Path(each) for each in spec.submodule_search_locations or () if os.path.isdir(each)]
    if not spec.has_location:
        return []
    place = Path(spec.origin)
    if not place.is_file():
        raise InstallError(f"{name} is imported from {place}, which is in an archive: unpack it")
    return [place if spec.submodule_search_locations is None else place.parent]


def _files_in(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield the files of *folder*, and of folders in it, which may be links."""
    above |= {os.path.realpath(folder)}
    for place in folder.iterdir():
        if place.name.startswith(".") or place.name == "__pycache__":
            continue
        if not place.is_dir():
            yield place
        elif os.path.realpath(place) not in above:
            yield from _files_in(place, above)
