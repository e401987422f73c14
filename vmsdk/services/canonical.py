"""The canonical validator set of a subnet, as warp signatures count it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from vmsdk.errors import WeightOverflow
from vmsdk.nodeservices import Validator, WarpValidator, WarpValidatorSet

MAX_WEIGHT = (1 << 64) - 1  # weights are unsigned 64-bit numbers, their sum too


def canonical_set(validators: Iterable[Validator]) -> WarpValidatorSet:
    """The canonical set of *validators*: those with a key, one entry for each key, ascending by key.

    The total counts those without a key too. Raises `WeightOverflow` when it exceeds 64 bits.
    """
    total = 0
    sharing: defaultdict[bytes, list[Validator]] = defaultdict(list)
    for validator in validators:
        total += validator.weight
        if validator.public_key:
            sharing[validator.public_key].append(validator)
    if total > MAX_WEIGHT:
        raise WeightOverflow(total)
    return WarpValidatorSet(
        tuple(
            WarpValidator(
                public_key=key,
                weight=sum(validator.weight for validator in sharing[key]),
                node_ids=tuple(sorted(validator.node_id for validator in sharing[key])),
            )
            for key in sorted(sharing)
        ),
        total,
    )
