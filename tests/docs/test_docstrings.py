"""The code in docstrings, which the reference shows, is code: it parses, and its names exist."""

from __future__ import annotations

import ast
import importlib
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import vmsdk

ROOT = Path(vmsdk.__file__).parent
BLOCK = re.compile(
    r"^```python\n(?P<fenced>(?:.*\n)*?)```$|(?<=\n\n)(?P<indented>(?:    .*(?:\n|$)|\n)+)", re.MULTILINE
)
STATEMENT = re.compile(r"^(?:(?:async )?(?:def|with|for)|class|if|import|from) .*:$", re.MULTILINE)
# What code in a docstring may assume.
MODULES = {name: f"vmsdk.{name}" for name in ("chain", "http", "p2p", "testing", "warp")} | {"vmsdk": "vmsdk"}


class Docstring(NamedTuple):
    """A docstring of a module, a class or a function."""

    place: str
    text: str

    @property
    def code(self) -> list[str]:
        found = [
            textwrap.dedent(each["fenced"] or each["indented"]).strip() for each in BLOCK.finditer(self.text)
        ]
        return [each for each in found if each]


def docstrings() -> Iterator[Docstring]:
    for path in sorted(ROOT.rglob("*.py")):
        if "_pb" in path.parts or "template" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                name = getattr(node, "name", "module")
                if text := ast.get_docstring(node):
                    yield Docstring(f"{path.relative_to(ROOT)}:{name}", text)


ALL = [*docstrings()]
WITH_CODE = [each for each in ALL if each.code]


@pytest.mark.parametrize("docstring", WITH_CODE, ids=lambda each: each.place)
def test_code_parses_and_its_names_exist(docstring: Docstring) -> None:
    for code in docstring.code:
        if code.startswith("{"):
            json.loads(code)
            continue
        nodes = [*ast.walk(ast.parse(code))]
        assigned = {
            each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        }
        for node in nodes:
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in MODULES.keys() - assigned:
                    assert hasattr(importlib.import_module(MODULES[name]), attr), ast.unparse(node)


def test_code_is_in_a_block_of_its_own() -> None:
    """Text that is not indented, as in a docstring that ends with its code, becomes a paragraph."""
    outside = {each.place: BLOCK.sub("", each.text) for each in ALL}
    assert [place for place, text in outside.items() if STATEMENT.search(text) or "::\n" in text] == []


def test_the_examples_are_found() -> None:
    assert len(WITH_CODE) >= 10
