"""A block whose attributes are computed."""

from __future__ import annotations

from datetime import datetime, timezone

import vmsdk


class Transfer(vmsdk.Block, vmsdk.VerifyWithContext):
    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    @property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self._payload)

    @property
    def parent_id(self) -> vmsdk.ID:
        return vmsdk.ID.EMPTY

    @property
    def height(self) -> int:
        return 1

    @property
    def timestamp(self) -> datetime:
        return datetime.now(timezone.utc)

    @property
    def raw(self) -> bytes:
        return self._payload

    @property
    def should_verify_with_context(self) -> bool:
        return True

    def verify_with_context(self, p_chain_height: int) -> None: ...

    def verify(self) -> None: ...

    def accept(self) -> None: ...


block: vmsdk.Block = Transfer(b"")
