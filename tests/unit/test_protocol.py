"""The table of protocol versions, against the changes that the node's releases made to the wire."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmsdk.errors import UnsupportedProtocol
from vmsdk.protocol import DEFAULT_PROTOCOL, NEWEST, OLDEST, PROTOCOLS, RANGE, protocol


def versions_with(feature: str) -> list[int]:
    return [version for version in range(OLDEST, NEWEST + 1) if getattr(protocol(version), feature)]


def test_there_is_no_gap_in_the_table() -> None:
    assert list(PROTOCOLS) == list(range(OLDEST, NEWEST + 1))
    assert f"{OLDEST} to {NEWEST}" == RANGE


def test_the_default_is_the_newest_that_a_regular_release_speaks() -> None:
    regular = [
        version
        for version, entry in PROTOCOLS.items()
        if any(not release.endswith("-fuji") for release in entry.releases)
    ]
    assert max(regular) == DEFAULT_PROTOCOL


@pytest.mark.parametrize("folder", ["vmsdk", "docs"])
def test_no_text_has_the_range_but_what_is_made_from_the_table(folder: str) -> None:
    root = Path(__file__).parents[2] / folder
    files = [*root.rglob("*.py"), *root.rglob("*.md")]
    assert files
    written = re.compile(rf"{OLDEST}( to |-|\u2013|\.\.){NEWEST}")
    assert [str(file) for file in files if written.search(file.read_text(encoding="utf-8"))] == []


def test_every_version_names_a_release_that_speaks_it() -> None:
    assert all(entry.releases for entry in PROTOCOLS.values())


@pytest.mark.parametrize(
    ("feature", "first", "last"),
    [
        ("block_status", 35, 35),
        ("cross_chain_messages", 35, 36),
        ("mismatch_names_path", 36, 46),
        ("network_upgrades", 37, 46),
        ("current_validators", 38, 46),
        ("inline_http_body", 35, 39),
        ("replaces_http_headers", 40, 46),
        ("handles_http2", 41, 46),
        ("text_io_errors", 35, 41),
        ("waits_for_events", 42, 46),
        ("simple_response_headers", 42, 46),
        ("warp_validator_sets", 44, 46),
        ("warp_validator_set", 44, 44),
    ],
)
def test_each_feature_has_its_versions(feature: str, first: int, last: int) -> None:
    assert versions_with(feature) == list(range(first, last + 1))


def test_the_header_routed_handler_was_renamed_once() -> None:
    methods = {version: protocol(version).http2_method for version in (35, 40, 41, 42, 46)}
    assert methods == {
        35: None,
        40: None,
        41: "CreateHTTP2Handler",
        42: "NewHTTPHandler",
        46: "NewHTTPHandler",
    }


@pytest.mark.parametrize("version", [-1, 0, 34, 47, 2**32])
def test_another_version_is_refused_with_the_range(version: int) -> None:
    with pytest.raises(UnsupportedProtocol) as caught:
        protocol(version)
    assert caught.value.version == version
    assert f"speaks {RANGE}" in str(caught.value)
