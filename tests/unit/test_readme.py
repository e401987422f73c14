"""README.md keeps its promises: its VM runs, its texts are the real ones, its links lead
somewhere.
"""

from __future__ import annotations

import re
import runpy
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.compatibility import with_table
from vmsdk import Context, MemoryDatabase
from vmsdk.database import DatabaseIterator
from vmsdk.host.errors import HandshakeFailed
from vmsdk.host.node import Host
from vmsdk.host.runtime import VersionRefused
from vmsdk.ids import ID, vm_id
from vmsdk.protocol import DEFAULT_PROTOCOL, protocol

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAINVM = (ROOT / "docs" / "chainvm.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks of README, or another text, in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def guestbook(tmp_path: Path) -> Path:
    """The VM that docs/chainvm.md tells to save."""
    file = tmp_path / "guestbook.py"
    file.write_text(blocks("python", CHAINVM)[0])
    return file


@pytest.fixture
def chain(guestbook: Path) -> Iterator[Host]:
    with Host(
        [sys.executable, "-W", "error", str(guestbook)],
        protocol=DEFAULT_PROTOCOL,
        genesis=b"welcome",
        handshake_timeout_s=60,
    ) as host:
        yield host


def test_the_first_command_is_make_run_and_the_second_make_test() -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert [command for command in commands if command.startswith("make")] == ["make run", "make test"]
    assert commands[0] == "make run"


def test_the_chain_of_readme_is_the_example() -> None:
    assert blocks("python")[0] == (ROOT / "examples" / "guestbook" / "guestbook.py").read_text()


def test_the_test_of_readme_passes(tmp_path: Path) -> None:
    source, test = blocks("python")[:2]
    (tmp_path / "guestbook.py").write_text(source)
    (tmp_path / "conftest.py").write_text(
        "import pytest\nfrom guestbook import GuestBook\n\n@pytest.fixture\ndef vm(): return GuestBook\n"
    )
    (tmp_path / "test_guestbook.py").write_text(test)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_vm_with_blocks_of_its_own_runs_from_genesis_to_a_block_that_survives(
    guestbook: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "error", str(guestbook)]
    database = tmp_path / "chain.db"
    entry = struct.Struct(">32sQQ")
    with Host(
        command, protocol=DEFAULT_PROTOCOL, genesis=b"welcome", handshake_timeout_s=60, database=database
    ) as host:
        genesis = host.chain.last_accepted
        assert genesis.raw == entry.pack(ID.EMPTY, 0, 0) + b"welcome"
        block = host.chain.parse_block(entry.pack(genesis.id, 1, 1_700_000_000) + "Grüezi".encode())
        host.chain.verify(block)
        host.chain.prefer(block.id)
        host.chain.accept(block)
    with Host(
        command, protocol=DEFAULT_PROTOCOL, genesis=b"welcome", handshake_timeout_s=60, database=database
    ) as host:
        assert host.chain.last_accepted.raw == block.raw
        assert host.chain.get_block_id_at_height(0) == genesis.id


@pytest.mark.parametrize(
    ("height", "seconds", "text", "rule"),
    [
        (2, 1, b"x", "height 2 does not follow 0"),
        (1, 2**33, b"x", "is before the parent's, or in the future"),
        (1, 1, b"", "1 to 140 characters, not 0"),
        (1, 1, b"x" * 141, "1 to 140 characters, not 141"),
    ],
)
def test_the_vm_with_blocks_of_its_own_refuses_a_block_against_its_rules(
    chain: Host, height: int, seconds: int, text: bytes, rule: str
) -> None:
    data = struct.pack(">32sQQ", chain.chain.last_accepted.id, height, seconds) + text
    block = chain.chain.parse_block(data)
    with pytest.raises(Exception, match=rule):
        chain.chain.verify(block)


@pytest.mark.parametrize("data", [b"", b"\0" * 47, b"\0" * 48 + b"\xff"])
def test_the_vm_with_blocks_of_its_own_refuses_what_is_not_an_entry(chain: Host, data: bytes) -> None:
    with pytest.raises(Exception, match="not an entry"):
        chain.chain.parse_block(data)


def test_the_vm_with_blocks_of_its_own_reads_a_page_in_one_call_and_without_the_engines_lock(
    guestbook: Path,
) -> None:
    class OneCall(MemoryDatabase):
        calls = 0

        def iterate(self, **options: bytes) -> DatabaseIterator:
            self.calls += 1
            return super().iterate(**options)

        def _get(self, key: bytes) -> bytes | None:
            self.calls += 1
            return super()._get(key)

    names = runpy.run_path(str(guestbook))
    vm = names["GuestBook"]()
    vm.ctx = Context(db=OneCall())
    vm.initialize(vm.ctx, b"welcome", b"", b"")
    parent = vm.get_block(vm.last_accepted())
    for number in range(1, 151):
        header = names["HEADER"].pack(parent.id, number, 1_700_000_000)
        parent = vm.parse_block(header + f"entry {number}".encode())
        parent.accept()
    vm.ctx.db.calls = 0
    with ThreadPoolExecutor(1) as other, vm.ctx.lock:  # a read that takes it in another thread would hang
        page = other.submit(vm.read).result(60)
    assert page == [f"entry {number}" for number in range(1, 101)]
    assert vm.ctx.db.calls == 1
    assert vm.read(start=149, limit=1) == ["entry 149"]
    assert vm.read(start=-5, limit=2) == ["welcome", "entry 1"]
    assert vm.read(start=151) == vm.read(limit=-1) == []
    assert vm.read(limit=10**9) == page


def test_the_file_in_the_plugin_directory_is_called_as_readme_says() -> None:
    assert f"`{vm_id('guestbook')}`" in README


def test_the_handshake_errors_are_quoted_as_nodes_write_them() -> None:
    quotes = [
        " ".join(re.sub(r"^> ?", "", paragraph, flags=re.MULTILINE).split())
        for paragraph in README.split("\n\n")
        if paragraph.startswith("> ")
    ]
    refusal = str(VersionRefused(protocol(43), 45, "…"))
    assert str(HandshakeFailed("vm process not found")) in quotes
    shown = next(quote for quote in quotes if "located at" in quote).removesuffix(" …")
    assert str(HandshakeFailed(refusal)).startswith(shown)
    # Of nodes that are older than the protocols here (MetalGo 1.9 and before).
    assert "handshake failed: timeout" in quotes
    assert "handshake failed: protocol version mismatch metalgo: 19 vm: 18" in quotes


def test_the_table_of_releases_is_what_its_script_makes() -> None:
    assert with_table(README) == README
    assert "| 43 | 1.13.4 \N{EN DASH} 1.13.5 | 1.13.5 | AvalancheGo 1.13.5: " in README


def test_every_link_to_a_file_leads_to_one() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
