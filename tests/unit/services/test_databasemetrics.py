"""Which calls of a database are noted for a trace."""

from __future__ import annotations

from vmsdk.services.databasemetrics import MAX_RECORDED, RECORDED_CALLS, DatabaseMetrics, RecordedCall


def test_the_calls_noted_for_one_trace_are_bounded() -> None:
    calls: list[RecordedCall] = []
    noting = RECORDED_CALLS.set(calls)
    metrics = DatabaseMetrics()
    for _ in range(MAX_RECORDED + 5):
        metrics.ended("/rpcdb.Database/Get", 0.0)
    RECORDED_CALLS.reset(noting)
    assert len(calls) == MAX_RECORDED
