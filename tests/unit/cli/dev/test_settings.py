"""The command line of `vmsdk dev` with its files read."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from vmsdk.cli import dev
from vmsdk.cli.dev import Settings
from vmsdk.errors import VMError


def settings(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    dev.add_arguments(parser)
    return Settings.of(parser.parse_args(["json.decoder", *arguments]))


def test_the_defaults_are_a_nodes() -> None:
    given = settings()
    assert (given.port, given.protocol) == (9650, 45)
    assert (given.genesis, given.config, given.upgrade) == (None, b"", b"")


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"file":"a.json"}', "[1.5]", "some words.", "a" * 10_000, "line\nline", "3.14", "nul\0"],
)
def test_a_text_that_does_not_name_a_file_is_the_content(text: str) -> None:
    assert settings("--config", text).config == text.encode()


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "genesis"
    file.write_bytes(b"\xff\r\n")
    assert settings("--genesis", str(file)).genesis == b"\xff\r\n"


@pytest.mark.parametrize("name", ["genesis.json", "./genesis", "/nothing/genesis", "conf/genesis.bin"])
def test_the_name_of_a_missing_file_is_not_content(name: str) -> None:
    with pytest.raises(VMError, match=f"--genesis {name}: there is no such file"):
        settings("--genesis", name)


def test_a_folder_is_not_content(tmp_path: Path) -> None:
    with pytest.raises(VMError, match="Is a directory"):
        settings("--upgrade", str(tmp_path))
