"""What the pages say is so: limits, names, messages, links."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from pathlib import Path

import pytest

import vmsdk

from .pages import PAGES, ROOT

DOCS = ROOT / "docs"
LIMITS = re.findall(
    r"^\| [^|]+ \| ([\d,.]+) ?(\w*) \|[^|]*\| `(vmsdk\.[\w.]+)` \|$",
    (DOCS / "limits.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
UNITS = {"": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "s": 1, "ms": 1, "min": 60}
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
# Of the system, Go, gRPC and grpcio, which nodes and plugins pass on.
FOREIGN = (
    "permission denied", "no such file or directory", "exec format error", "fork/exec ",
    "404 page not found", "connect: connection refused", "error reading from server: EOF",
    "Concurrent RPC limit exceeded!",
)  # fmt: skip


@pytest.mark.parametrize(("number", "unit", "source"), LIMITS, ids=[source for *_, source in LIMITS])
def test_a_limit_has_the_value_of_its_source(number: str, unit: str, source: str) -> None:
    assert float(number.replace(",", "")) * UNITS[unit] == value_of(source)


def value_of(source: str) -> object:
    home, _, name = source.rpartition(".")
    try:
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError:
        home, _, owner = home.rpartition(".")
        fields = dataclasses.fields(getattr(importlib.import_module(home), owner))
        return next(each.default for each in fields if each.name == name)


def test_all_limits_of_a_chain_are_listed() -> None:
    from vmsdk.chain import Limits

    listed = {source.rpartition(".")[2] for *_, source in LIMITS}
    without_default = {"blocks", "receipts"}
    assert {each.name for each in dataclasses.fields(Limits)} - listed == without_default


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_the_reference_lists_every_public_name(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    home = text.partition("\n")[0].removeprefix("# ")
    module = importlib.import_module(home)
    listed = re.findall(rf"^::: {re.escape(home)}\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(set(module.__all__) - {"__version__"})


def our_texts() -> list[str]:
    """Every text in vmsdk's sources, with `…` for what it puts in."""
    texts = []
    for path in Path(vmsdk.__file__).parent.rglob("*.py"):
        if "_pb" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sdgr]|%\.\d+f", "…", node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values]
                texts.append("".join(parts))
    return texts


def headings() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.*)`$", text, re.MULTILINE)


def fragments(heading: str) -> list[str]:
    """The parts of a message that are always the same."""
    for foreign in FOREIGN:
        heading = heading.replace(foreign, "…")
    return [part.strip(": ") for part in heading.split("…") if len(part.strip(": ,")) > 1]


def headings_of_vmsdk(texts: list[str]) -> list[str]:
    """The messages that vmsdk logs, and not the node: they begin like one of its *texts*."""
    everything = "\n".join(texts)
    return [each for each in headings() if fragments(each) and fragments(each)[0] in everything]


def test_troubleshooting_quotes_each_message_once_and_as_it_is_written() -> None:
    assert len(headings()) == len(set(headings())) >= 25
    texts = our_texts()
    ours = headings_of_vmsdk(texts)
    assert len(ours) >= 12
    assert [
        each for each in ours if not any(all(part in text for part in fragments(each)) for text in texts)
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
