"""Blocks can be written in the ways that Python offers for attributes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vmsdk.block import Block, VerifyWithContext
from vmsdk.ids import ID
from vmsdk.interface import must_derive

PARENT = ID.of(b"parent")


@dataclass
class DataclassBlock(Block):
    """All attributes are fields, as most authors write it."""

    id: ID
    parent_id: ID
    height: int
    timestamp: datetime
    raw: bytes
    fate: list[str] = field(default_factory=list)

    def verify(self) -> None:
        self.fate.append("verified")

    def accept(self) -> None:
        self.fate.append("accepted")


class PropertyBlock(Block):
    """All attributes are computed."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    @property
    def id(self) -> ID:
        return ID.of(self._payload)

    @property
    def parent_id(self) -> ID:
        return PARENT

    @property
    def height(self) -> int:
        return 7

    @property
    def timestamp(self) -> int:
        return 1_700_000_000

    @property
    def raw(self) -> bytes:
        return self._payload

    def verify(self) -> None: ...

    def accept(self) -> None: ...


class AssigningBlock(Block):
    """All attributes are declared, and assigned in the constructor."""

    id: ID
    parent_id: ID
    height: int
    timestamp: int
    raw: bytes

    def __init__(self) -> None:
        self.id = ID.of(b"block")
        self.parent_id = PARENT
        self.height = 7
        self.timestamp = 1_700_000_000
        self.raw = b"block"

    def verify(self) -> None: ...

    def accept(self) -> None: ...


@pytest.mark.parametrize(
    "block",
    [
        DataclassBlock(
            ID.of(b"block"), PARENT, 7, datetime.fromtimestamp(1_700_000_000, timezone.utc), b"block"
        ),
        PropertyBlock(b"block"),
        AssigningBlock(),
    ],
    ids=lambda block: type(block).__name__,
)
def test_a_block_shows_its_attributes_however_they_are_written(block: Block) -> None:
    assert (block.id, block.parent_id, block.height) == (ID.of(b"block"), PARENT, 7)
    assert block.raw == b"block"
    block.verify()
    block.accept()
    block.reject()  # nothing by default


def test_what_verify_keeps_in_the_block_is_there_for_accept() -> None:
    block = DataclassBlock(ID.of(b""), PARENT, 1, datetime.now(timezone.utc), b"")
    block.verify()
    block.accept()
    assert block.fate == ["verified", "accepted"]


@pytest.mark.parametrize("missing", ["verify", "accept"])
def test_a_block_without_verify_or_accept_cannot_be_made(missing: str) -> None:
    methods = {name: lambda self: None for name in ("verify", "accept") if name != missing}
    incomplete = type("Incomplete", (Block,), methods)
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_verifying_with_context_needs_both_of_its_parts() -> None:
    half = type("Half", (VerifyWithContext,), {"verify_with_context": lambda self, height: None})
    with pytest.raises(TypeError, match="should_verify_with_context"):
        half()


@pytest.mark.parametrize("method", ["verify", "accept", "reject"])
def test_an_async_method_is_refused_when_the_class_is_made(method: str) -> None:
    async def never_awaited(self: object) -> None: ...

    body = {"verify": lambda self: None, "accept": lambda self: None, method: never_awaited}
    with pytest.raises(
        TypeError, match=rf"^Mine\.{method} is async, .* write `def {method}` without `async`$"
    ):
        type("Mine", (Block,), body)


def test_an_async_method_of_a_mixin_is_refused_too() -> None:
    class Mixin:
        async def accept(self) -> None: ...

    with pytest.raises(TypeError, match=r"Mine\.accept is async"):
        type("Mine", (Mixin, Block), {"verify": lambda self: None})


def test_an_async_property_is_refused() -> None:
    async def wants(self: object) -> bool:
        return True

    with pytest.raises(TypeError, match=r"should_verify_with_context is async"):
        type("Mine", (VerifyWithContext,), {"should_verify_with_context": property(wants)})


def test_other_methods_may_be_async() -> None:
    class Mine(Block):
        async def fetch(self) -> None: ...
        def verify(self) -> None: ...
        def accept(self) -> None: ...

    assert Mine()


def test_a_property_that_is_written_as_a_method_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Mine\.should_verify_with_context is a method: write @property"):
        type("Mine", (VerifyWithContext,), {"should_verify_with_context": lambda self: True})


def test_verify_with_context_needs_its_interface_as_a_base() -> None:
    methods = {name: lambda self, *_: None for name in ("verify", "accept", "verify_with_context")}
    mine = type("Mine", (Block,), methods)
    with pytest.raises(TypeError, match=r"^Mine\.verify_with_context is never called, .*VerifyWithContext"):
        must_derive(mine, VerifyWithContext)
    must_derive(type("Below", (mine, VerifyWithContext), {}), VerifyWithContext)


MIXIN = """
class Proposed:
    def verify_with_context(self, p_chain_height): pass
"""


@pytest.mark.parametrize(
    ("more", "below", "is_refused"),
    [
        ("", "", True),
        ("    def check(self): self.verify_with_context(1)", "", False),
        ("", "def propose(block): block.verify_with_context(1)", False),
    ],
)
def test_a_mixin_with_verify_with_context_needs_its_interface_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, below: str, is_refused: bool
) -> None:
    def module(name: str, code: str) -> Any:
        made: Any = ModuleType(name)
        made.__file__ = str(tmp_path / f"{name}.py")
        (tmp_path / f"{name}.py").write_text(code)
        exec(code, vars(made))
        monkeypatch.setitem(sys.modules, name, made)
        return made

    mixin = module("proposed", MIXIN + more).Proposed
    members = {name: lambda self: None for name in ("verify", "accept")}
    mine = type("Mine", (mixin, Block), {**members, "__module__": module("below", below).__name__})
    if is_refused:
        cure = (
            r"^Proposed\.verify_with_context is never called, because Mine does not derive from vmsdk\.Veri"
        )
        with pytest.raises(TypeError, match=cure):
            must_derive(mine, VerifyWithContext)
    else:
        must_derive(mine, VerifyWithContext)


@pytest.mark.parametrize("method", ["verify", "accept", "reject"])
def test_a_method_with_other_arguments_is_refused(method: str) -> None:
    body = {"verify": lambda self: None, "accept": lambda self: None, method: lambda self, vm: None}
    with pytest.raises(TypeError, match=rf"^Mine\.{method} .*: write `def {method}\(self\)`$"):
        type("Mine", (Block,), body)
