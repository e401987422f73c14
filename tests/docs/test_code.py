"""All code in the documentation: Python is type-checked and run, commands are parsed, data is read.

A block that can't be run has a comment above it, `<!-- not run: REASON -->`; Python is type-checked
all the same. What a page's code does is tested with the feature: in `test_tutorial.py` here, and in
the tests that read a page.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk import cli

from .pages import ALL, PAGES, ROOT, Block, blocks

GIVEN = Path(__file__).parent / "given"
"""For each page with code that uses names of the reader's: a module that defines them."""
MAX_NOT_RUN = 15
LANGUAGES = {"python", "sh", "console", "json", "toml", "yaml", "promql", "text"}
EXTRAS = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
SHELL = [block for block in ALL if block.language in ("sh", "console") and not block.reason]
INLINE = re.compile(r"`vmsdk ([a-z]+)((?: [^`]*)?)`")
ORDINARY = re.compile(
    r"\.|\[|awk|cat|cd|chmod|chown|cp|curl|date|dmesg|docker|done|du|"
    r"echo|env|export|for|git|grep|head|install|jq|kill|ls|mkdir|mv|"
    r"pip|pytest|python|python3|rm|rpc|ruff|sed|sort|sudo|systemctl|tail|"
    r"test|tr|wc|while|xsvm"
)


WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


def write_module(page: Path, folder: Path, run: bool) -> Path:
    """Write a module with the Python of a page, on the page's own lines; if it is to *run*, without
    the blocks that can't.
    """
    lines = [""] * (page.read_text(encoding="utf-8").count("\n") + 1)
    for block in blocks(page):
        if block.language == "python" and not (run and block.reason):
            code = textwrap.dedent(block.code).replace("from __future__ import annotations", "")
            lines[block.line - 1 : block.line - 1 + code.count("\n")] = code.splitlines()
    given = GIVEN / f"{module_of(page)}.py"
    names = f"; from tests.docs.given.{given.stem} import *" if given.exists() else ""
    lines[0] = f"from __future__ import annotations{names}"
    module = folder / f"page_{module_of(page)}.py"
    module.write_text("\n".join(lines), encoding="utf-8")
    return module


def module_of(page: Path) -> str:
    return page.stem.lower().replace("-", "_")


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for example in (ROOT / "examples").iterdir():
        monkeypatch.syspath_prepend(example)
    file = write_module(page, tmp_path, run=True)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)


@pytest.mark.slow
def test_python_is_well_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    # The tutorial's code is changed step by step: test_tutorial.py runs it.
    pages = [page for page in WITH_PYTHON if page.stem != "tutorial"]
    modules = [write_module(page, tmp_path, run=False) for page in pages]
    options = [
        "--config-file=", "--check-untyped-defs", "--ignore-missing-imports", "--no-error-summary",
        f"--cache-dir={tmp_path / 'cache'}",
        *(f"--disable-error-code={code}" for code in ("no-redef", "misc", "operator", "func-returns-value")),
    ]  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, modules)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    errors = [line for line in ran.stdout.splitlines() if "page_" in line and " error: " in line]
    assert not errors, "\n".join(errors)


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands in a block; in a `console` block, those after a prompt."""
    text = block.code
    if block.language == "console":
        text = "\n".join(re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE))
    if re.search(r"\w\(\) \{|<<", text):  # a function or a here-document: what runs it is a test
        return
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                while command and re.match(r"\w+=", command[0]):
                    del command[0]
                if command:
                    yield command
                command = []
            else:
                command.append(word)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_commands_exist(block: Block) -> None:
    for command in commands(block):
        name, arguments = Path(command[0]).name or command[0], command[1:]
        if name == "sudo":
            arguments = arguments[2:] if arguments[0] == "-u" else arguments
            name, arguments = Path(arguments[0]).name, arguments[1:]
        if name == "vmsdk":
            accepted([each for each in arguments if each != "…"])
        elif name == "make":
            targets = re.findall(
                r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
            )
            assert {each for each in arguments if "=" not in each} <= set(targets)
        elif name == "curl":
            if "-d" in arguments:
                json.loads(arguments[arguments.index("-d") + 1])
        else:
            assert ORDINARY.fullmatch(name), (
                f"{name}: not a usual tool; mark the block, or add it to ORDINARY"
            )
        for extras in re.findall(r"vmsdk\[([\w,]+)\]", " ".join(arguments)):
            assert set(extras.split(",")) <= EXTRAS


def accepted(arguments: list[str]) -> None:
    """Assert that the command line parses."""
    printed = io.StringIO()
    chosen = next((each for each in arguments if not each.startswith("-")), None)
    status: object = 0
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        try:
            cli._parser(chosen).parse_args(arguments)
        except SystemExit as ended:  # also after --help
            status = ended.code
    assert status == 0, printed.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_in_the_text_exist(page: Path) -> None:
    for command, arguments in INLINE.findall(page.read_text(encoding="utf-8")):
        help_text = help_of(command)
        if command == "network" and (sub := re.match(r" ([a-z-]+)", arguments)):
            help_text = help_of(command, sub[1])
        unknown = [each for each in re.findall(r"--[a-z][a-z-]+", arguments) if each not in help_text]
        assert not unknown, f"`vmsdk {command}{arguments}`"


def help_of(*command: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
    assert printed.getvalue(), f"there is no vmsdk {' '.join(command)}"
    return printed.getvalue()


@pytest.mark.parametrize("block", [each for each in ALL if each.language == "json"], ids=lambda b: b.place)
def test_json_is_json(block: Block) -> None:
    json.loads(block.code)


def test_every_block_names_its_language() -> None:
    assert [each.place for each in ALL if each.language not in LANGUAGES] == []


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    not_run = [f"{each.place}: {each.reason}" for each in ALL if each.reason]
    assert len(not_run) <= MAX_NOT_RUN, "\n".join(not_run)
