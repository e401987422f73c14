"""What a type checker tells authors: nothing about right programs, and each mistake in wrong ones.

Where an author's line is wrong, `# E: code` names the code of mypy's error, and no other may
appear.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import vmsdk

pytest.importorskip("mypy")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT = sorted((HERE / "right").glob("*.py"))
WRONG = sorted((HERE / "wrong").glob("*.py"))
# Those that import their names at first use.
PACKAGES = ("vmsdk", "vmsdk.chain", "vmsdk.http", "vmsdk.network", "vmsdk.testing")

Finding = tuple[str, int, str]


def findings(output: str) -> Counter[Finding]:
    """File name, line and code of each of mypy's errors."""
    found = re.findall(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", output, re.MULTILINE)
    return Counter((Path(path).name, int(line), code) for path, line, code in found)


def expected(path: Path) -> Counter[Finding]:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return Counter(
        (path.name, number, code) for number, line in lines for code in re.findall(r"# E: ([\w-]+)", line)
    )


def mypy(*paths: Path) -> str:
    """What mypy says about these files, in the project's own strict configuration."""
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    of_these = [
        line
        for line in result.stdout.splitlines()
        if Path(line.split(":")[0]).name in {p.name for p in paths}
    ]
    return "\n".join(of_these)


def names_of(package: str) -> list[str]:
    return [name for name in dir(importlib.import_module(package)) if name[0] != "_"]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that uses each exported name, and none that isn't."""
    program = tmp_path_factory.mktemp("typing") / "exported_names.py"
    program.write_text("import vmsdk\n" + "".join(f"print(vmsdk.{name})\n" for name in dir(vmsdk)))
    return program


@pytest.fixture(scope="module")
def star_imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each package, a program that imports all its names at once and uses them."""
    folder = tmp_path_factory.mktemp("star")
    programs = {package: folder / f"all_of_{package.replace('.', '_')}.py" for package in PACKAGES}
    for package, program in programs.items():
        uses = "".join(f"print({name})\n" for name in names_of(package))
        program.write_text(f"from {package} import *\n{uses}")
    return programs


@pytest.fixture(scope="module")
def report(names: Path, star_imports: dict[str, Path]) -> str:
    """One run of mypy over everything, since starting it is what takes long."""
    return mypy(*RIGHT, *WRONG, names, *star_imports.values())


@pytest.mark.parametrize("program", RIGHT, ids=lambda path: path.stem)
def test_a_right_program_is_accepted(report: str, program: Path) -> None:
    assert [line for line in report.splitlines() if program.name in line] == []


@pytest.mark.parametrize("program", WRONG, ids=lambda path: path.stem)
def test_each_mistake_of_a_wrong_program_is_found(report: str, program: Path) -> None:
    found = Counter({finding: n for finding, n in findings(report).items() if finding[0] == program.name})
    assert found == expected(program)
    assert found


def test_every_exported_name_is_known_to_type_checkers(report: str, names: Path) -> None:
    assert [line for line in report.splitlines() if names.name in line] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_star_import_is_known_to_type_checkers(
    report: str, star_imports: dict[str, Path], package: str
) -> None:
    assert names_of(package)
    assert [line for line in report.splitlines() if star_imports[package].name in line] == []
