"""What goes into a bundle."""

from __future__ import annotations

import json
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from zipfile import ZipFile

import pytest

from vmsdk.install.bundle import bundle
from vmsdk.install.contents import Contents, read_requirements
from vmsdk.install.launcher import InstallError
from vmsdk.target import SourceTarget, find

HEAD = "import vmsdk\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def contents(
    target: str = "vm.py", requirements: tuple[str, ...] = (), include: tuple[str, ...] = ()
) -> Contents:
    source = find(target)
    assert isinstance(source, SourceTarget)
    return Contents(source, requirements, map(Path, include))


def test_what_the_code_imports_goes_in_and_nothing_else_of_its_folder(project: Path) -> None:
    code = {
        "vm.py": HEAD + "import helper\ndef later():\n    from tools import x\n",
        "helper.py": "import os.path, other.part\n",
    }
    others = (
        "tools/__init__.py",
        "tools/table.json",
        "tools/.env",
        "other/part.py",
        "secret.pem",
        "notes.py",
    )
    write(project, code | dict.fromkeys(others, ""))
    assert contents().code == ["helper.py", "other/part.py", "tools/__init__.py", "tools/table.json", "vm.py"]


def test_files_that_a_module_names_beside_itself_go_in(project: Path) -> None:
    code = 'from pathlib import Path\nGENESIS = Path(__file__).parent / "data/genesis.json"\n'
    write(project, {"vm.py": code, "data/genesis.json": "{}", "data/other.json": "{}", "secret.pem": ""})
    assert contents().code == ["data/genesis.json", "vm.py"]
    # The name of a folder may be any word, and the folder may hold secrets.
    write(project, {"vm.py": code + 'API = {"keys": 1}\n', "keys/staker.key": ""})
    assert contents().code == ["data/genesis.json", "vm.py"]
    assert contents(include=("data",)).code == ["data/genesis.json", "data/other.json", "vm.py"]


@pytest.mark.parametrize("path", ["/etc/passwd", "absent.json", ".."])
def test_only_files_of_the_vms_folder_can_be_included(project: Path, path: str) -> None:
    write(project, {"vm.py": HEAD})
    with pytest.raises(InstallError, match="can't be included: it is not a file or folder in"):
        contents(include=(path,))


def test_packages_come_with_what_they_need(project: Path) -> None:
    write(project, {"vm.py": HEAD + "import grpc\n"})
    found = contents()
    assert {"vmsdk", "grpcio", "grpcio-health-checking", "protobuf"} <= {
        each.lower() for each in found.distributions
    }
    assert "pytest" not in found.distributions
    assert "site-packages/vmsdk/vm.py" in found.files
    assert any(name.startswith("site-packages/grpc/_cython/cygrpc.") for name in found.files)
    names = {name.rpartition("/")[2] for name in found.files}
    assert not names & {
        "RECORD",
        "INSTALLER",
        "direct_url.json",
    }  # they differ from one installation to the next
    assert not any("__pycache__" in name or ".." in name for name in found.files)


def test_the_projects_dependencies_go_in_though_nothing_imports_them(project: Path) -> None:
    listed = '[project]\nname = "vm"\ndependencies = ["vm", "pluggy>=1"]\n'
    write(project, {"vm.py": HEAD, "pyproject.toml": listed})
    assert "pluggy" in contents().distributions


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        (
            "absent-package>=3",
            r"vm.py needs absent-package>=3, which is not installed here: pip install 'absent-p",
        ),
        (
            "pytest>=1000",
            r"vm.py needs pytest>=1000, but [\d.]+ is installed here: pip install 'pytest>=1000'",
        ),
        ("not a name", "'not a name' is not a requirement such as coincurve>=20"),
    ],
)
def test_a_package_that_is_not_here_is_named_with_its_cure(
    project: Path, requirement: str, problem: str
) -> None:
    write(project, {"vm.py": HEAD})
    with pytest.raises(InstallError, match=problem):
        contents(requirements=(requirement,))


def test_a_package_whose_files_are_unknown_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata_file = "packages/fromdebian-1.0.dist-info/METADATA"
    write(project, {"vm.py": HEAD, metadata_file: "Name: fromdebian\nVersion: 1.0\n"})
    monkeypatch.syspath_prepend(str(project / "packages"))
    with pytest.raises(InstallError, match="fromdebian was not installed by pip, so its files are unknown"):
        contents(requirements=("fromdebian",))


def editable(project: Path, name: str, folder: str, top_level: str) -> dict[str, str]:
    """What an editable installation of *folder* leaves: metadata, and no module."""
    found = {
        "METADATA": f"Name: {name}\nVersion: 1\nRequires-Dist: pluggy\n",
        "direct_url.json": json.dumps({"url": (project / folder).as_uri(), "dir_info": {"editable": True}}),
        "top_level.txt": top_level,
        "RECORD": "".join(
            f"{name}-1.dist-info/{each},,\n" for each in ("METADATA", "direct_url.json", "top_level.txt")
        )
        + f"__editable___{name}_finder.py,,\n",
    }
    return {f"packages/{name}-1.dist-info/{each}": text for each, text in found.items()}


@pytest.mark.parametrize(
    ("top_level", "package"),
    [
        pytest.param("shared\n", "shared", id="setuptools"),
        pytest.param("", "shared", id="hatchling"),
        pytest.param("", "other", id="of another name"),
        pytest.param("", "ours/part", id="namespace package"),
    ],
)
def test_a_package_that_is_installed_as_editable_is_put_in_from_its_sources(
    project: Path, monkeypatch: pytest.MonkeyPatch, top_level: str, package: str
) -> None:
    installed = editable(project, "shared", "else where", top_level)
    write(project, {**installed, f"else where/src/{package}/__init__.py": "import wsproto\n"})
    write(project, {"vm/vm.py": f"import {package.replace('/', '.')}, ours.mine\n", "vm/ours/mine.py": ""})
    monkeypatch.syspath_prepend(str(project / "packages"))
    (project / "link").symlink_to(project / "else where")
    monkeypatch.syspath_prepend(str(project / "link/src"))
    found = contents("vm/vm.py")
    assert f"site-packages/{package}/__init__.py" in found.files
    assert "site-packages/shared-1.dist-info/METADATA" in found.files
    assert not [each for each in found.files if "direct_url" in each or "finder" in each]
    assert {"shared", "pluggy", "wsproto"} <= set(found.distributions)
    assert found.code == ["ours/mine.py", "vm.py"]


@pytest.mark.parametrize("folder", ["elsewhere", "packages"])  # such as with a .venv inside it
def test_an_editable_package_whose_modules_are_not_found_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    write(project, {**editable(project, "shared", folder, ""), "vm/vm.py": HEAD})
    monkeypatch.syspath_prepend(str(project / "packages"))
    cure = f"shared is installed as editable, and its modules are not found: pip install {project}/{folder} "
    with pytest.raises(InstallError, match=cure):
        contents("vm/vm.py", ("shared",))


def test_the_project_itself_goes_in_with_its_metadata(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {**editable(project, "shared", "vm", ""), "vm/vm.py": HEAD})
    listed = '[project]\nname = "Shared"\ndependencies = ["shared[fast]", "absent; python_version < \'3\'"]\n'
    write(project, {"vm/pyproject.toml": listed})
    assert "shared" not in contents("vm/vm.py").distributions  # it is not installed
    monkeypatch.syspath_prepend(str(project / "packages"))
    found = contents("vm/vm.py")
    assert {"shared", "pluggy"} <= set(found.distributions)
    assert "site-packages/shared-1.dist-info/METADATA" in found.files
    assert found.code == ["vm.py"]
    # Another checkout of it, in which it looks for its version.
    code = HEAD + "from importlib.metadata import version\nversion('shared')\n"
    write(project, {"other/vm.py": code, "other/pyproject.toml": listed})
    assert contents("other/vm.py").code == ["vm.py"]


# Each in a module of its own, with the files that it needs.
WAYS = {
    "import ours.chain.vm": ["ours/chain/vm.py", "ours/x.txt"],  # a namespace package
    "import importlib as i\ni.import_module('called.b')": ["called/b.py"],
    "from importlib.resources import files\nfiles('assets')": ["assets/__init__.py", "assets/x.json"],
    "import fast": [f"fast{EXTENSION_SUFFIXES[0]}"],
    "__file__\nHERE / 'data' / 'x.json'": ["data/x.json"],
    "__file__\nos.path.join(HERE, 'join', 'x.json')": ["join/x.json"],
    "__file__\nHERE.joinpath('joined').joinpath('x')": ["joined/x"],
}


def test_whichever_way_the_code_names_a_file_it_goes_in(project: Path) -> None:
    modules = {f"m{number}.py": code for number, code in enumerate(WAYS)}
    needed = [file for files in WAYS.values() for file in files]
    write(project, modules | dict.fromkeys([*needed, "unnamed.py", "data/unnamed", "grpc/notes.txt"], ""))
    write(project, {"vm.py": HEAD + f"import grpc, {', '.join(name[:-3] for name in modules)}\n"})
    assert contents().code == sorted([*modules, *needed, "vm.py"])


@pytest.mark.parametrize("name", ["secrets.py", "vm.v2.py", "ünï-vm.py"])
def test_a_target_may_have_any_name(project: Path, name: str) -> None:
    write(project, {name: HEAD + "import helper\n", "helper.py": ""})
    assert contents(name).code == sorted(["helper.py", name])


def test_linked_folders_of_a_package_go_in_once_each(project: Path) -> None:
    write(project, {"vm/__init__.py": HEAD, "data/x.json": ""})
    (project / "vm" / "data").symlink_to(project / "data")
    (project / "data" / "back").symlink_to(project / "vm")
    assert contents("vm/__init__.py").code == ["vm/__init__.py", "vm/data/x.json"]


def test_a_folder_that_the_code_names_is_reported(project: Path) -> None:
    write(project, {"vm.py": HEAD + "__file__\nHERE / 'data'\nHERE / 'all'\n'keys'\n", "keys/a": ""})
    write(project, {"data/a.json": "", "all/b.json": ""})
    assert contents(include=("all",)).left_out == [(project / "data", project / "vm.py")]


def test_a_folder_without_modules_is_left_out_though_its_name_is_like_an_import(project: Path) -> None:
    write(project, {"vm.py": HEAD + "store.get_data('keys')\n", "keys/validator.pem": "", "tools/x.py": ""})
    assert (contents().code, contents().left_out) == (["vm.py"], [])
    write(project, {"vm.py": HEAD + "import pkgutil, tools\npkgutil.get_data('keys', 'validator.pem')\n"})
    assert contents().code == ["tools/x.py", "vm.py"]
    assert contents().left_out == [(project / "keys", project / "vm.py")]
    assert contents(include=("keys",)).code == ["keys/validator.pem", "tools/x.py", "vm.py"]


def test_a_module_in_an_archive_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {"vm.py": HEAD + "import zipped_module\n"})
    with ZipFile(project / "lib.zip", "w") as archive:
        archive.writestr("zipped_module.py", "")
    monkeypatch.syspath_prepend(str(project / "lib.zip"))
    with pytest.raises(
        InstallError, match=r"zipped_module is imported from .*, which is in an archive: unpa"
    ):
        contents()


def test_a_file_that_cannot_be_read_is_named(project: Path) -> None:
    write(project, {"vm.py": HEAD + "import helper\n"})
    (project / "helper").mkdir()
    (project / "helper" / "loop.py").symlink_to("loop.py")
    (project / "helper" / "__init__.py").touch()
    with pytest.raises(InstallError, match=f"{project}/helper/loop.py can't be read: Too many levels"):
        contents()


def test_a_name_that_is_not_a_file_is_not_looked_for(project: Path) -> None:
    write(project, {"vm.py": HEAD + "import __main__, nosuchmodule\n"})
    assert contents().code == ["vm.py"]


def test_requirements_are_read_from_a_file_of_pips(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(
        "# ours\ncoincurve>=20  # fast\n\nx==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n",
        encoding="utf-8",
    )
    assert read_requirements(file) == ["coincurve>=20", "x==1"]
    file.write_text("-r other.txt\n", encoding="utf-8")
    with pytest.raises(InstallError, match=r"'-r other\.txt' is an option of pip, not a requirement"):
        read_requirements(file)
    with pytest.raises(InstallError, match="can't be read"):
        read_requirements(tmp_path / "absent")


def test_an_executable_is_not_bundled(project: Path) -> None:
    with pytest.raises(InstallError, match="is an executable already: a bundle is made from Python source"):
        bundle(sys.executable)


def test_a_folder_to_unpack_into_is_absolute(project: Path) -> None:
    with pytest.raises(InstallError, match="--unpack-dir here is not an absolute path"):
        bundle("vm.py", unpack_dir="here")
