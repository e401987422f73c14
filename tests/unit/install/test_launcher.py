"""The launcher as text: a shell script and a Python program at once, whatever stands in it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmsdk.install.launcher import Changed, Launcher, recognise
from vmsdk.target import SourceTarget

# What a name, a path or a value may hold: all but the zero byte, and lone surrogates, which are no
# UTF-8.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.text(
    "'\"\\$`!\n\r #{}%", max_size=12
)
names = st.from_regex(r"V_[A-Z0-9_]{1,5}", fullmatch=True)


def source(text: str) -> SourceTarget:
    """A target in a file whose path is that text, however odd."""
    return SourceTarget("as given", text, Path(text), text, Path(text))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the place of the interpreter: tells the variables and arguments that it was started
    with.
    """
    path = tmp_path_factory.mktemp("bin") / 'it\'s "python"'
    code = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"
    path.write_text(f"#!{sys.executable}\n{code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=texts, target=texts, command=texts, environment=st.dictionaries(names, texts, max_size=3))
def test_every_text_comes_through_shell_and_python(
    python: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    target: str,
    command: str,
    environment: dict[str, str],
) -> None:
    launcher = Launcher(name, source(target), str(python), install_command=command, environment=environment)
    data = launcher.to_bytes()

    # To Python it is a program whose last statement is the call, unless another imports it.
    *_, guard = ast.parse(data).body
    assert isinstance(guard, ast.If)
    assert ast.unparse(guard.test) == "__name__ == '__main__'"
    *_, call = guard.body
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    given = {each.arg: ast.literal_eval(each.value) for each in call.value.keywords}
    assert (given["name"], given["install_command"], given["module"]) == (name, command, target)
    assert given["target"] == f"{Path(target)}:{target}"
    assert given["file"] == given["root"] == str(Path(target))

    # To the shell it is a script that becomes the interpreter.
    file = tmp_path_factory.mktemp("plugins") / "the launcher"
    file.write_bytes(data)
    file.chmod(0o755)
    done = subprocess.run([file, "an argument"], env={}, capture_output=True, check=True)
    assert done.stderr == b""
    variables, arguments = json.loads(done.stdout)
    assert {name: variables[name] for name in environment} == environment
    assert variables["PYTHONHASHSEED"] == "0"
    assert arguments == ["-X", "utf8", "-X", "faulthandler", "-u", str(file), "an argument"]


@settings(max_examples=50)
@given(texts, texts)
def test_every_launcher_is_recognised_and_no_changed_one(name: str, target: str) -> None:
    data = Launcher(name, source(target), "/usr/bin/python3").to_bytes()
    written = recognise(data)
    assert written is not None
    assert (written.name, written.target) == (name, f"{Path(target)}:{target}")
    with pytest.raises(Changed):
        recognise(data + b"\n")
    with pytest.raises(Changed):
        recognise(data.replace(b"utf8", b"utf9", 1))


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\xff" * 100, b"# vmsdk-launcher\n", b"print('vmsdk')\n"]
)
def test_nothing_else_is_recognised(data: bytes) -> None:
    assert recognise(data) is None


def test_a_forged_checksum_over_something_else_is_not_a_launcher() -> None:
    import hashlib

    body = b"#!/bin/sh\necho hello\n"
    digest = hashlib.sha256(body).hexdigest().encode()
    assert recognise(b"#!/bin/sh\n# vmsdk-launcher sha256:" + digest + b"\necho hello\n") is None


def test_no_shell_expands_a_thing(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "launcher"
    value = "$HOME `id` $(id) ${PATH} * ~ ; exit 3"
    file.write_bytes(Launcher("x", source("y"), str(python), environment={"V": value}).to_bytes())
    file.chmod(0o755)
    variables, _ = json.loads(subprocess.run([file], env={}, capture_output=True, check=True).stdout)
    assert variables["V"] == value


def test_garbage_is_collected_whatever_the_entry_does(tmp_path: Path) -> None:
    """It may be that of another version of vmsdk, installed after the launcher was written."""
    tmp_path.joinpath("other.py").write_text(
        "import gc\ndef launch(**settings): print(gc.isenabled())\n", encoding="utf-8"
    )
    launcher = Launcher("a", source("a"), path=(str(tmp_path),), entry="other")
    command = launcher.write(tmp_path / "launcher")
    assert subprocess.run(command, env={}, check=True, capture_output=True, text=True).stdout == "True\n"
