"""Warp: messages that the validators of one chain sign, and other chains verify.

```python
def verify_with_context(self, p_chain_height):
    warp.verify_at(self.ctx, self.message, p_chain_height)
```
"""

from __future__ import annotations

from vmsdk.warp.aggregator import Aggregator, QuorumNotReached
from vmsdk.warp.handler import SignatureHandler
from vmsdk.warp.message import BitSetSignature, Message, UnsignedMessage
from vmsdk.warp.payload import MAX_PAYLOAD_BYTES, AddressedCall, Hash, decode_payload
from vmsdk.warp.verification import canonical_set, is_quorum, verify, verify_at

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "AddressedCall",
    "Aggregator",
    "BitSetSignature",
    "Hash",
    "Message",
    "QuorumNotReached",
    "SignatureHandler",
    "UnsignedMessage",
    "canonical_set",
    "decode_payload",
    "is_quorum",
    "verify",
    "verify_at",
]
