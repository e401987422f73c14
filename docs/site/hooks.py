"""What MkDocs doesn't do itself: pages from files outside `docs/`, and the commands' help.

A page may link to any file or folder of the repository, as on GitHub. Markdown becomes a page of
its own, other files become pages that show their text.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from vmsdk import cli

ROOT = Path(__file__).parents[2]
PROJECT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")
DRAWING = re.compile(r"^!\[[^\]]*\]\(assets/(\S+\.svg)\)$", re.MULTILINE)
LANGUAGES = {".py": "python", ".md": "markdown", ".json": "json", ".toml": "toml", ".sh": "sh"}
# `name` on a line, and its description indented below: a definition list.
TERM = re.compile(r"^(`[^`\n]+`(?:, `[^`\n]+`)*)\n {4}(?=\S)", re.MULTILINE)
SUBCOMMAND = re.compile(r"^    ([a-z][a-z-]*)(?:  |$)", re.MULTILINE)

# Where a generated page comes from, for its relative links.
_origins: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's own pages, the commands' help, and every file that a page links to."""
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    waiting = [*PROJECT]
    for file in files.documentation_pages():
        waiting += targets(file.content_string, "docs/" + file.src_uri)
    while waiting:
        path = waiting.pop()
        uri = page_of(path)
        if path.startswith("docs/") or uri in files.src_uris:
            continue
        text = source(ROOT / path)
        _origins[uri] = path + "/README.md" if (ROOT / path).is_dir() else path
        inclusion = InclusionLevel.INCLUDED if path in PROJECT else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, uri, content=text, inclusion=inclusion))
        waiting += targets(text, _origins[uri])
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links between files of the repository at their pages."""
    here = page.file.src_uri
    origin = _origins.get(here, "docs/" + here)

    def moved(link: re.Match[str]) -> str:
        path = resolve(link[1], origin)
        return posixpath.relpath(page_of(path), posixpath.dirname(here)) if path else link[1]

    return DRAWING.sub(drawing, LINK.sub(moved, markdown))


def drawing(image: re.Match[str]) -> str:
    """The SVG itself in place of a link to it: so it follows the page's colors."""
    svg = (ROOT / "docs/assets" / image[1]).read_text(encoding="utf-8")
    return f'<div class="drawing" markdown="0">\n{svg}</div>'


def targets(text: str, origin: str) -> list[str]:
    return [path for link in LINK.findall(text) if (path := resolve(link, origin))]


def resolve(link: str, origin: str) -> str | None:
    """The path in the repository that *link* in the file *origin* leads to, if there is one."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def page_of(path: str) -> str:
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PROJECT:
        return f"project/{path.removesuffix('.md').lower()}.md"
    return f"source/{path.removesuffix('.md')}.md"


def source(path: Path) -> str:
    """The Markdown of a file, or of a folder: its README and its Python files."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    if path.is_dir():
        readme = path / "README.md"
        parts = [source(readme) if readme.exists() else f"# {path.relative_to(ROOT)}"]
        parts += [f"## {file.name}\n\n{fenced(file)}" for file in sorted(path.glob("*.py"))]
        return "\n\n".join(parts)
    return f"# {path.relative_to(ROOT)}\n\n{fenced(path)}"


def fenced(path: Path) -> str:
    return f"````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8')}````\n"


def commands() -> str:
    """Every command's `--help`."""
    os.environ.update(COLUMNS="90", NO_COLOR="1")
    page = ["# The command line", "What each command prints for `--help`."]
    waiting: list[list[str]] = [[]]
    while waiting:
        command = waiting.pop(0)
        text = help_of(command)
        name = " ".join(["vmsdk", *command])
        page.append(f"{'##' if len(command) < 2 else '###'} {name}\n\n```text\n{text}```")
        found = text.partition("\ncommands:\n")[2].partition("\n\n")[0]
        waiting[:0] = [[*command, each] for each in SUBCOMMAND.findall(found)]
    return "\n\n".join(page) + "\n"


def help_of(command: list[str]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
    return printed.getvalue()


class Docstrings(griffe.Extension):
    """Turns names with a description below into definition lists, as Markdown writes them."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = TERM.sub(r"\n\1\n:   ", obj.docstring.value)
