"""How much HTTP a plugin takes on at once."""

from __future__ import annotations

import sys

import pytest

from vmsdk.rpc.http.capacity import Capacity, Full, Slots, descriptor_limit, max_streams


def test_a_slot_is_free_again_after_its_use_also_after_a_failure() -> None:
    slots = Slots("streams", 1)
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError(slots.taken)
    with slots.take():
        pass
    assert slots.taken == 0


def test_one_too_many_is_refused_with_the_number() -> None:
    slots = Slots("streams", 2)
    with slots.take(), slots.take():
        with pytest.raises(Full, match="too many streams: this VM takes 2 at once") as caught, slots.take():
            pytest.fail("a slot too many")
        assert "too many streams: this VM takes 2 at once" in str(caught.value)


@pytest.mark.parametrize(("descriptors", "streams"), [(1_024, 412), (1_000_000, 20_000), (100, 1), (0, 1)])
def test_streams_leave_descriptors_for_the_chain(descriptors: int, streams: int) -> None:
    assert max_streams(descriptors) == streams


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_the_process_gets_all_the_descriptors_that_it_may_have() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        assert descriptor_limit() >= min(before[1], 512)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
        assert Capacity().streams.limit == max_streams(descriptor_limit())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
