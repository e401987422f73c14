"""What goes into a bundle."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vmsdk.install import InstallError
from vmsdk.install.bundle import bundle
from vmsdk.install.contents import Contents, read_requirements
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


def test_a_package_that_is_installed_as_editable_is_put_in_from_its_sources(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, {"elsewhere/shared/__init__.py": "import wsproto\n", "vm/vm.py": "import shared\n"})
    monkeypatch.syspath_prepend(str(project / "elsewhere"))
    found = contents("vm/vm.py")
    assert "site-packages/shared/__init__.py" in found.files
    assert "wsproto" in found.distributions
    # As setuptools leaves it: with the names of its modules, and none of their files.
    installed = {
        "METADATA": "Name: shared\nVersion: 1\n",
        "direct_url.json": '{"url": "file:///elsewhere", "dir_info": {"editable": true}}',
        "top_level.txt": "shared\n",
        "RECORD": "shared-1.dist-info/METADATA,,\n",
    }
    write(project, {f"packages/shared-1.dist-info/{name}": text for name, text in installed.items()})
    monkeypatch.syspath_prepend(str(project / "packages"))
    assert "site-packages/shared/__init__.py" in contents("vm/vm.py").files


def test_an_editable_package_whose_files_are_not_found_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {
        "METADATA": "Name: ours-shared\nVersion: 1\n",
        "direct_url.json": '{"url": "file:///elsewhere", "dir_info": {"editable": true}}',
        "top_level.txt": "ours\n",
        "RECORD": "ours_shared-1.dist-info/METADATA,,\n__editable___ours_shared_finder.py,,\n",
    }
    files = {f"packages/ours_shared-1.dist-info/{name}": text for name, text in installed.items()}
    # A namespace package: its folder has no __init__.py.
    write(project, {**files, "elsewhere/ours/shared/__init__.py": "", "vm/vm.py": "import ours.shared\n"})
    monkeypatch.syspath_prepend(str(project / "packages"))
    monkeypatch.syspath_prepend(str(project / "elsewhere"))
    with pytest.raises(InstallError, match="ours-shared is installed as editable, and its files are not"):
        contents("vm/vm.py")


def test_a_name_that_is_no_file_is_not_looked_for(project: Path) -> None:
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
