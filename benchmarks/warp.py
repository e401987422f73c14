"""Verifying a warp message that five validators signed, beside the signature check alone.

The floor is one check of a single signature by the BLS library, from parsed points: the hash to the
curve and two pairings.
"""

from __future__ import annotations

import sys
from time import perf_counter

from benchmarks.table import Row, compare, markdown
from vmsdk import bls, warp
from vmsdk.ids import ID
from vmsdk.nodeservices import WarpValidator, WarpValidatorSet

VALIDATORS = 5
REPEATS = 20
NETWORK_ID = 1


def run() -> list[Row]:
    """Measure, where the extra `warp` is installed."""
    try:
        import py_arkworks_bls12381 as library
    except ImportError:
        print("warp is left out: pip install 'vmsdk[warp]' (Python 3.11 or newer)", file=sys.stderr)
        return []
    secrets = [bytes(31) + bytes([number]) for number in range(1, VALIDATORS + 1)]
    keys = [bls.uncompress(bls.public_key(secret)) for secret in secrets]
    validators = WarpValidatorSet([WarpValidator(key, 1) for key in keys], VALIDATORS)
    unsigned = warp.UnsignedMessage(NETWORK_ID, ID.of(b"chain"), bytes(200))
    data = unsigned.encode()
    signature = bls.aggregate_signatures([bls.sign(secret, data) for secret in secrets])
    message = warp.Message(unsigned, warp.BitSetSignature.of(range(VALIDATORS), signature))
    key = library.G1Point.from_compressed_bytes(bls.aggregate_public_keys(keys))
    point = library.G2Point.from_compressed_bytes(signature)
    generator = -library.G1Point()

    def verify_ms() -> float:
        begun = perf_counter()
        for _ in range(REPEATS):
            warp.verify(message, validators, NETWORK_ID)
        return (perf_counter() - begun) / REPEATS * 1000

    def check_ms() -> float:
        begun = perf_counter()
        for _ in range(REPEATS):
            hashed = library.G2Point.hash_to_curve(data, b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_")
            assert library.GT.pairing_check([key, generator], [hashed, point])
        return (perf_counter() - begun) / REPEATS * 1000

    return [
        compare(
            "a warp message of 5 validators verified vs. the pairing check alone",
            "ms",
            verify_ms,
            check_ms,
            goal="at most 7 ms",
        )
    ]


if __name__ == "__main__":
    print(markdown(run()))
