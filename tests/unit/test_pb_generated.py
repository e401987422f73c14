"""``proto/generate.py`` makes ``vmsdk/_pb/`` from ``proto/``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUT_OF_DATE = "vmsdk/_pb/ is out of date: run `python proto/generate.py`"

# The first run installs the compiler.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def cached_python(name: str, requirements: str) -> Path:
    """Return a Python with these requirements from the script's cache; skip if pip can't fill
    it.
    """
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    try:
        python: Path = script.cached_venv(name, requirements)
    except subprocess.CalledProcessError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"pip can't install what this test needs: {error}")
    return python


@pytest.fixture(scope="module")
def compiler() -> None:
    cached_python("proto", (ROOT / "proto" / "requirements.txt").read_text("utf-8"))


@pytest.fixture
def tree(tmp_path: Path, compiler: None) -> Path:
    """A copy of what the script reads and writes, to be changed by a test."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=ignored)
    shutil.copytree(ROOT / "vmsdk" / "_pb", tmp_path / "vmsdk" / "_pb", ignore=ignored)
    (tmp_path / ".cache").symlink_to(ROOT / ".cache")
    return tmp_path


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "proto" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_the_generated_code_is_up_to_date(compiler: None) -> None:
    check = generate(ROOT, "--check")
    assert (check.returncode, check.stderr) == (0, "")


def test_a_changed_proto_is_noticed_and_written(tree: Path) -> None:
    replace(tree / "proto/rpcdb/rpcdb.proto", "bool has = 1;", "bool has = 3;")
    before = (tree / "vmsdk/_pb/rpcdb/rpcdb_pb2.py").read_text("utf-8")

    check = generate(tree, "--check")
    assert check.returncode == 1
    assert check.stderr.splitlines() == ["vmsdk/_pb/rpcdb/rpcdb_pb2.py differs", OUT_OF_DATE]
    assert (tree / "vmsdk/_pb/rpcdb/rpcdb_pb2.py").read_text("utf-8") == before

    assert generate(tree).returncode == 0
    assert (tree / "vmsdk/_pb/rpcdb/rpcdb_pb2.py").read_text("utf-8") != before
    assert generate(tree, "--check").returncode == 0


def test_missing_and_leftover_files_are_noticed_and_repaired(tree: Path) -> None:
    (tree / "vmsdk/_pb/warp/message_grpc.py").unlink()
    (tree / "vmsdk/_pb/sdk/leftover_pb2.py").touch()

    check = generate(tree, "--check")
    assert check.returncode == 1
    assert check.stderr.splitlines() == [
        "vmsdk/_pb/sdk/leftover_pb2.py is no longer generated",
        "vmsdk/_pb/warp/message_grpc.py is missing",
        OUT_OF_DATE,
    ]

    assert generate(tree).returncode == 0
    assert not (tree / "vmsdk/_pb/sdk/leftover_pb2.py").exists()
    assert generate(tree, "--check").returncode == 0


def test_a_proto_that_does_not_compile_is_reported_with_its_line_and_changes_nothing(tree: Path) -> None:
    replace(tree / "proto/warp/message.proto", "bytes signature = 1;", "byte signature = 1;")
    failed = generate(tree)
    assert failed.returncode == 1
    assert '/proto/warp/message.proto:20:3: "byte" is not defined.' in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (tree / "vmsdk/_pb/warp/message_pb2.py").read_bytes() == (
        ROOT / "vmsdk/_pb/warp/message_pb2.py"
    ).read_bytes()


def test_a_streaming_method_is_refused_because_the_tables_hold_unary_ones_only(tree: Path) -> None:
    replace(tree / "proto/warp/message.proto", "returns (SignResponse)", "returns (stream SignResponse)")
    refused = generate(tree)
    assert refused.returncode == 1
    assert refused.stderr == "warp.Signer.Sign streams, but the service tables support unary methods only\n"
    written = (tree / "vmsdk/_pb/warp/message_pb2.py").read_bytes()
    assert written == (ROOT / "vmsdk/_pb/warp/message_pb2.py").read_bytes()
