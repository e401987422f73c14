"""vmsdk's own instruments."""

from __future__ import annotations

from vmsdk.metrics import BOUNDS_S, Counts, Durations, Histogram


def test_a_histograms_buckets_are_cumulative_and_include_their_bounds() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[1], BOUNDS_S[-1] + 1):
        histogram.observe(seconds)
    lines = {(sample.name, sample.labels.get("le")): sample.value for sample in histogram.samples("x", {})}
    assert lines[("x_bucket", str(BOUNDS_S[0]))] == 2
    assert lines[("x_bucket", str(BOUNDS_S[1]))] == 3
    assert lines[("x_bucket", str(BOUNDS_S[-1]))] == 3
    assert lines[("x_bucket", "inf")] == lines[("x_count", None)] == 4
    assert lines[("x_sum", None)] == BOUNDS_S[0] + BOUNDS_S[1] + BOUNDS_S[-1] + 1


def test_durations_have_one_histogram_for_each_value_and_none_that_is_empty() -> None:
    durations = Durations("x_seconds", "Time", "method")
    assert durations.of("a") is durations.of("a")
    durations.of("b").observe(1)
    [family] = durations.collect()
    assert {sample.labels["method"] for sample in family.samples} == {"b"}


def test_counts_are_kept_for_each_combination_of_labels() -> None:
    counts = Counts("x_total", "Number", "method", "kind")
    counts.add("a", "good")
    counts.add("a", "bad", amount=2)
    counts.add("a", "good")
    [family] = counts.collect()
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"method": "a", "kind": "bad"}, 2),
        ({"method": "a", "kind": "good"}, 2),
    ]
