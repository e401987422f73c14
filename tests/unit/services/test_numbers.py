from __future__ import annotations

import pytest

from vmsdk.errors import InvalidInput
from vmsdk.services.call import signed, unsigned


@pytest.mark.parametrize("value", [0, 255])
def test_an_unsigned_number_within_its_bits_passes(value: int) -> None:
    assert unsigned("it", value, bits=8) == value


@pytest.mark.parametrize("value", [-128, 0, 127])
def test_a_signed_number_within_its_bits_passes(value: int) -> None:
    assert signed("it", value, bits=8) == value


@pytest.mark.parametrize("value", [-1, 256])
def test_an_unsigned_number_outside_its_bits_is_refused(value: int) -> None:
    with pytest.raises(InvalidInput, match=f"^it is a number from 0 to 255; {value} is not$"):
        unsigned("it", value, bits=8)


@pytest.mark.parametrize("value", [-129, 128])
def test_a_signed_number_outside_its_bits_is_refused(value: int) -> None:
    with pytest.raises(InvalidInput, match=f"^it is a number from -128 to 127; {value} is not$"):
        signed("it", value, bits=8)
