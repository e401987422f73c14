"""docs/tutorial.md, as a reader follows it; `tests/network/test_tutorial.py` has the real nodes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.devcommand import TIMEOUT_S, Dev
from vmsdk import cli

from .pages import ROOT, blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial calls curl"),
]
CODE = blocks(ROOT / "docs" / "tutorial.md")
RULES, TEST, KEY, METHODS, CLOCK = (block.code for block in CODE if block.language == "python")
(CHECK,) = (block.code for block in CODE if block.code.startswith("vmsdk check"))
CURL = next(block.code for block in CODE if block.code.startswith("curl"))
(PRINTED,) = (block.code for block in CODE if block.language == "text")


def test_the_chain_of_the_tutorial(tmp_path: Path) -> None:
    assert cli.main(["new", "my-chain", "--directory", str(tmp_path)]) == 0
    vm, tests = tmp_path / "my_chain.py", tmp_path / "tests" / "test_my_chain.py"
    source = vm.read_text()
    for part in RULES.split("\n\n"):
        assert part in source

    tests.write_text(tests.read_text() + "\n\n" + TEST)
    assert "1 failed" in pytest_in(tmp_path)
    source = source.replace("\n\nclass MyChain", f"\n\n{KEY}\n\nclass MyChain")
    for method in re.findall(r"^    def .*?(?=^    def |\Z)", METHODS, re.MULTILINE | re.DOTALL):
        source = with_method(source, method)
    vm.write_text(source)
    assert "failed" not in pytest_in(tmp_path)

    with Dev(vm, folder=tmp_path) as dev:
        address = dev.url().removeprefix("http://").partition("/")[0]
        script = CURL.replace("127.0.0.1:9650", address).replace("\ncurl", "\nread -r; curl")
        with subprocess.Popen(
            ["bash", "-ec", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            dev.line(r"block +1|#1|height 1|^1 ")
            out, _ = shell.communicate("\n", TIMEOUT_S)
        assert re.findall(r'"result":"?([^",}]+)', out)[1:] == ["world"]
        dev.interrupt()
        assert dev.wait() == 0

    last = next(line for line in METHODS.splitlines() if "put_int" in line)
    vm.write_text(
        source.replace(last.strip(), CLOCK.strip()).replace("import vmsdk", "import time\n\nimport vmsdk", 1)
    )
    with Dev(vm, "--reset", folder=tmp_path) as dev:
        address = dev.url().removeprefix("http://").partition("/")[0]
        write = CURL.partition("\ncurl")[0].replace("127.0.0.1:9650", address)
        subprocess.run(["bash", "-ec", write], check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
        dev.line("nondeterminism: block")
        dev.interrupt()
        dev.wait()
        wanted = [" ".join(part.split()).strip("() ") for part in re.split(r"…|0xbdfe|0xbe83", PRINTED)]
        assert [part for part in wanted if part not in dev.output] == [], dev.output

    vm.write_text(source)
    program, command, target, *options = shlex.split(CHECK.replace("\\\n", " "))
    assert (program, command, target) == ("vmsdk", "check", vm.name)
    assert cli.main(["check", str(vm), *options]) == 0


def with_method(source: str, method: str) -> str:
    """The source with the method in place of the one of its name, or at the end of the class."""
    name = method.split("(")[0].split()[-1]
    method = method.rstrip("\n") + "\n\n"
    changed, count = re.subn(
        rf"^    def {name}\(.*?(?=^    def |^    # |^\S)",
        lambda _: method,
        source,
        flags=re.MULTILINE | re.DOTALL,
    )
    return (
        changed
        if count
        else source.replace('\n\nif __name__ == "__main__"', f'\n{method}\nif __name__ == "__main__"')
    )


def pytest_in(project: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project, text=True, capture_output=True, check=False, timeout=4 * TIMEOUT_S,
    )  # fmt: skip
    return ran.stdout + ran.stderr
