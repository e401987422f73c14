"""The examples keep the contract at every protocol that released nodes speak."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vmsdk import cli
from vmsdk.testing.run import run_checks

EXAMPLES = Path(__file__).parents[2] / "examples"
HOOKS = Path(__file__).parent / "hooks"

# A run takes a minute or two. All twelve: VMSDK_TEST_EVERY_PROTOCOL=1 make test-slow
SOME = [("timestamp", 39), ("tokens", 45)]
NAMES = ("timestamp", "guestbook", "tokens", "feed")
ALL = [(example, protocol) for example in NAMES for protocol in (39, 43, 45)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("example", "protocol"), ALL if os.environ.get("VMSDK_TEST_EVERY_PROTOCOL") else SOME
)
def test_an_example_keeps_the_contract(
    example: str,
    protocol: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A good VM is not at fault if the machine is busy.
    defaults = run_checks.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout_s", 240.0)
    (source,) = [file for file in (EXAMPLES / example).glob("*.py") if file.stem in (f"{example}vm", example)]
    genesis = HOOKS / f"{example}.json"
    arguments = ["--protocol", str(protocol), "--hook", str(HOOKS / f"{example}.py")]
    if genesis.exists():
        arguments += ["--genesis", str(genesis)]
    report = tmp_path / "report.json"
    status = cli.main(["check", str(source), *arguments, "--json", str(report)])
    output = capsys.readouterr()
    assert status == 0, output.out + output.err
    results = json.loads(report.read_text())["results"]
    skipped = {result["why"] for result in results if result["verdict"] == "skipped"}
    assert not any("--hook" in why or "mempool takes no more" in why for why in skipped)
