"""The pytest plugin: the fixture `chain`, and its report for a failed test. pytest finds the plugin
automatically if vmsdk is installed. It imports nothing of vmsdk before a test asks for a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vmsdk.testing.chain import Chain

_CHAINS: pytest.StashKey[list[Any]] = pytest.StashKey()
_MARK = "in_process: run the VM of this test in pytest's process even with --vm-process (vmsdk)"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vmsdk", "blockchain VMs")
    group.addoption(
        "--vm-process",
        action="store_true",
        default=None,
        help="run each VM as a plugin, in its own process, instead of in pytest's",
    )
    group.addoption("--vm-protocol", type=int, metavar="N", help="the version of the protocol to speak")
    parser.addini("vm_process", "run each VM as a plugin in its own process", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)


@pytest.fixture
def vm() -> Any:
    """The VM under test: its class, a function that makes one, or the command of a plugin."""
    raise pytest.UsageError(
        "the fixture `chain` needs to know your VM: define a fixture `vm` in conftest.py that returns "
        "its class, or the command of a plugin"
    )


@pytest.fixture
def genesis() -> Any:
    """The genesis data: bytes, text, or a value that is encoded as JSON. Empty by default."""
    return b""


@pytest.fixture
def upgrade() -> Any:
    """The upgrade file: bytes, text, or a value that is encoded as JSON. Empty by default."""
    return b""


@pytest.fixture
def issue() -> Any:
    """The function `issue(client, tx)` that submits a transaction by HTTP, or None."""
    return None


@pytest.fixture
def chain_options() -> dict[str, Any]:
    """More arguments for the chain, such as `config`: those of `ChainConfig`."""
    return {}


@pytest.fixture
def make_chain(
    request: pytest.FixtureRequest,
    vm: Any,
    genesis: Any,
    upgrade: Any,
    issue: Any,
    chain_options: dict[str, Any],
) -> Iterator[Callable[..., Chain]]:
    """Makes chains of the test's VM that are not started yet. They are closed after the test."""
    from vmsdk.testing.chain import Chain

    config = request.config
    chains: list[Chain] = request.node.stash.setdefault(_CHAINS, [])
    process = config.getoption("vm_process")
    if process is None:
        process = config.getini("vm_process")
    options: dict[str, Any] = {"genesis": genesis, "upgrade": upgrade, "issue": issue, **chain_options}
    options["process"] = bool(process) and request.node.get_closest_marker("in_process") is None
    if config.getoption("vm_protocol") is not None:
        options["protocol"] = config.getoption("vm_protocol")

    with ExitStack() as closing:  # It closes all of them, even if one fails to close.

        def make(**changed: Any) -> Chain:
            chain = Chain(vm, **{**options, **changed})
            chains.append(chain)
            closing.callback(chain.close)
            return chain

        yield make


@pytest.fixture
def chain(make_chain: Callable[..., Chain]) -> Chain:
    """A chain of the test's VM, in normal operation at its genesis block."""
    return make_chain().start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that has passed without a fault that it asked for."""
    result = yield
    chains: list[Chain] = item.stash.get(_CHAINS, [])
    missing = [line for chain in chains for line in chain.missing_faults()]
    if missing:
        pytest.fail(
            "the test has passed without a fault that it asked for:\n  "
            + "\n  ".join(missing)
            + "\nChoose an earlier call, or end the test with chain.faults.clear() if the fault is optional.",
            pytrace=False,
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed and call.when != "teardown":
        chains: list[Chain] = item.stash.setdefault(_CHAINS, [])
        for number, chain in enumerate(chains):
            name = "chain" if number == 0 else f"chain {number + 1}"
            report.sections += chain.report(name)
    return report
