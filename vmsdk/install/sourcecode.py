"""What a module's source names: imports, and files next to it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

# Functions of importlib, importlib.resources and pkgutil whose first argument is a module's name.
_OF_MODULES = ("__import__", "import_module", "find_spec")
# The ones with a common name, which count only in a module that imports one of these packages.
_OF_RESOURCES = ("files", "get_data", "open_binary", "open_text", "read_binary", "read_text")
_RESOURCES = {"importlib", "importlib_resources", "pkgutil"}


def parse(file: Path) -> ast.AST:
    """Return the tree of a module, empty if it is not valid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are shown when the module is imported
            return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, RecursionError):
        return ast.Pass()  # so is this error


def imports(tree: ast.AST) -> list[str]:
    """Return the top-level names of the modules that the code imports or opens resources of."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append(node.module)
    tops = [each.partition(".")[0] for each in found]
    functions = _OF_MODULES if _RESOURCES.isdisjoint(tops) else _OF_MODULES + _OF_RESOURCES
    return [*tops, *(each.partition(".")[0] for each in arguments(tree, functions))]


def arguments(tree: ast.AST, functions: tuple[str, ...]) -> Iterator[str]:
    """Yield the first argument of each call of one of *functions*, if it is a literal."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) in functions
        ):
            match node.args:
                case [ast.Constant(value=str(text)), *_]:
                    yield text


def data(tree: ast.AST, file: Path) -> Iterator[Path]:
    """Yield what *file* names next to itself, if it looks for files relative to itself."""
    if any(isinstance(node, ast.Name) and node.id == "__file__" for node in ast.walk(tree)):
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and _is_name(text := _path_text(node)):
                path = file.parent / text
                is_folder = path.is_dir() and not isinstance(node, ast.Constant)  # often just a word
                if path != file and (path.is_file() or is_folder):
                    yield path


def _path_text(node: ast.expr) -> str:
    """Return the end of a path: "data/x" of HERE / "data" / "x" and join(HERE, "data", "x")."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            parts = [left, right]
        case ast.Call(func=ast.Attribute(value=left, attr="joinpath"), args=args):
            parts = [left, *args]
        case ast.Call(args=parts):
            pass
        case _:
            return ""
    texts = takewhile(bool, map(_path_text, reversed(parts)))
    return "/".join(reversed([*texts]))


def _is_name(text: str) -> bool:
    return text.isprintable() and not {"", ".", ".."} & set(text.split("/")) and len(text) < 256
