"""Directories are listed backwards in the shadow of `vmsdk dev`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmsdk.cli.dev import readback


@pytest.mark.skipif(os.scandir not in os.supports_fd, reason="not on this system")
def test_directories_are_listed_backwards_also_by_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    forwards = os.listdir(tmp_path)
    monkeypatch.setattr(os, "supports_fd", set(os.supports_fd))
    for function in ("listdir", "scandir"):
        monkeypatch.setattr(os, function, getattr(os, function))
    readback._list_directories_backwards()
    # If not, shutil removes trees by their paths, in which another process may put a link.
    assert {os.listdir, os.scandir} <= os.supports_fd
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with os.scandir(descriptor) as entries:
            assert [entry.name for entry in entries] == forwards[::-1] == os.listdir(descriptor)
    finally:
        os.close(descriptor)
