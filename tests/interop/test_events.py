"""No event is lost and none is doubled, whether the node asks for it or is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .chain import GENESIS, Chain
from .everything.block import HEADER
from .gohost import BOOTSTRAPPING, BUILD_BLOCK, NORMAL_OPERATION, GoHost, GoHostError
from .nodes import Node
from .pyplugin import EVERYTHING, python_plugin

# Quiet for so long, there is no event to come at once.
QUIET_S = 0.5
# A build that fails is asked for again at growing distances, from 0.1 s on.
FAILING_BUILDS = 4
FAILING_BUILDS_AT_LEAST_S = 0.1 + 0.2 + 0.4


@pytest.fixture
def plugin(node: Node, tmp_path: Path) -> Path:
    return python_plugin(tmp_path, EVERYTHING, node.protocol)


@pytest.fixture
def chain(host: GoHost, plugin: Path) -> Iterator[Chain]:
    running = Chain(host, plugin)
    yield running
    host.shutdown()


def quiet(host: GoHost) -> bool:
    """Whether no event comes for a while."""
    try:
        host.wait_for_event(QUIET_S)
    except GoHostError:
        return True
    return False


def test_each_piece_of_work_becomes_one_block(chain: Chain, host: GoHost) -> None:
    payloads = [bytes([number]) for number in range(5)]
    for payload in payloads:
        chain.propose(payload)
    built = []
    for _ in payloads:
        assert host.wait_for_event() == BUILD_BLOCK
        built.append(chain.decide(host.build()).raw[HEADER.size :])
    assert built == payloads
    assert quiet(host)


def test_work_that_was_there_before_the_restart_is_reported(host: GoHost, plugin: Path) -> None:
    host.run(plugin, GENESIS)
    host.shutdown()
    restarted = Chain(host, plugin, config=b"work")
    assert host.wait_for_event() == BUILD_BLOCK
    assert restarted.decide(host.build()).raw[HEADER.size :] == b"from before"
    assert quiet(host)


def test_an_event_dropped_while_bootstrapping_comes_again(host: GoHost, plugin: Path) -> None:
    host.start(plugin)
    host.initialize(GENESIS, config=b"work")
    host.set_state(BOOTSTRAPPING)
    quiet(host)  # whatever comes now, the node throws away
    host.set_state(NORMAL_OPERATION)
    assert host.wait_for_event() == BUILD_BLOCK


def test_an_event_that_the_node_dropped_comes_again(chain: Chain, host: GoHost) -> None:
    chain.propose(b"work")
    assert host.wait_for_event() == BUILD_BLOCK
    # The node drops it, because its preference changed in the same moment, and asks again.
    host.set_preference(chain.last.id)
    assert host.wait_for_event() == BUILD_BLOCK


def test_a_cancelled_wait_takes_no_event_with_it(chain: Chain, host: GoHost) -> None:
    for number in range(10):
        waiting = host.submit("wait_for_event")
        host.cancel(waiting)
        chain.propose(bytes([number]))
        assert host.wait_for_event() == BUILD_BLOCK
        chain.decide(host.build())
        # The wait has ended one way or the other; where nodes are told, it may have taken an event.
        waiting.exception(60)
    assert quiet(host)
    assert host.last_accepted().height == 10


def test_work_in_a_block_that_is_not_yet_verified_is_not_reported_twice(chain: Chain, host: GoHost) -> None:
    chain.propose(b"work")
    assert host.wait_for_event() == BUILD_BLOCK
    block = host.build()
    assert quiet(host)
    chain.decide(block)
    assert quiet(host)
    assert chain.ask("seen")["builds"] == 1


def test_builds_that_fail_are_not_asked_for_in_a_hurry(chain: Chain, host: GoHost) -> None:
    chain.ask("setBuildsFail", fail=True)
    chain.propose(b"stuck")
    began = time.monotonic()
    for _ in range(FAILING_BUILDS):
        assert host.wait_for_event() == BUILD_BLOCK
        with pytest.raises(GoHostError, match="nothing to build"):
            host.build()
    assert time.monotonic() - began >= FAILING_BUILDS_AT_LEAST_S

    chain.ask("setBuildsFail", fail=False)
    assert host.wait_for_event() == BUILD_BLOCK
    assert chain.decide(host.build()).raw[HEADER.size :] == b"stuck"


def test_every_wait_of_many_that_overlap_ends_when_cancelled(chain: Chain, host: GoHost) -> None:
    waits = [host.submit("wait_for_event") for _ in range(20)]
    for waiting in waits:
        host.cancel(waiting)
    for waiting in waits:
        assert isinstance(waiting.exception(60), GoHostError)
    assert host.health()["health"] == {"height": 0}
    chain.propose(b"after all of them")
    assert host.wait_for_event() == BUILD_BLOCK
