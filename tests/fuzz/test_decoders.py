"""No decoder of what strangers send raises, logs or hangs, whatever it gets: the short form of
`python -m tests.fuzz`.
"""

from __future__ import annotations

import logging

import pytest

from .__main__ import fuzz
from .decoders import DECODERS

INPUTS = 2_000


@pytest.mark.parametrize("decoder", DECODERS)
def test_any_bytes_are_read_or_refused(decoder: str, caplog: pytest.LogCaptureFixture) -> None:
    fuzz(decoder, INPUTS, seed=2)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
