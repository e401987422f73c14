"""Random trees of blocks beside a model of plain dicts; by hand for longer, see `chain_model`."""

from __future__ import annotations

import pytest

from .chain_model import Trial


@pytest.mark.parametrize("seed", [1, 2])
def test_the_state_is_that_of_the_model_after_any_steps(seed: int) -> None:
    Trial(seed).run(5_000)
