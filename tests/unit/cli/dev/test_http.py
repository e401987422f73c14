"""The paths and commands that `vmsdk dev` shows for what a VM mounts."""

from __future__ import annotations

import pytest

from vmsdk.cli.dev.http import example_calls, path_to_open, subpaths_hint
from vmsdk.http import subpaths

URL = "http://127.0.0.1:9650/ext/bc/coin"
JSON_RPC = f"""\
or, if it speaks JSON-RPC:
curl -H 'content-type: application/json' {URL}/rpc -d '{{"jsonrpc":"2.0","id":1,"method":"METHOD","params":{{}}}}'"""  # noqa: E501


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", ""),
        ("/rpc", "/rpc"),
        ("/rpc/", "/rpc/"),
        (subpaths(""), "/"),
        (subpaths("/api"), "/api/"),
        ("/files/{rest:.*}", "/files/"),
        ("/state{suffix:(?:[.]json)?}", "/state"),
    ],
)
def test_a_path_that_the_prefix_matches_is_shown(prefix: str, path: str) -> None:
    assert path_to_open(prefix) == path


def test_a_template_whose_names_need_values_is_shown_with_the_names_alone() -> None:
    assert path_to_open("/blocks/{height:[0-9]{1,20}}/txs/{tx}.json") == "/blocks/{height}/txs/{tx}.json"


def test_a_json_rpc_call_is_shown_only_where_there_may_be_such_a_service() -> None:
    assert example_calls(URL, ["/rpc"]) == f"curl {URL}/rpc\n{JSON_RPC}"
    assert example_calls(URL, [subpaths("/api")]) == f"curl {URL}/api/"
    assert example_calls(URL, [subpaths("/api"), "/rpc"]) == f"curl {URL}/api/\n{JSON_RPC}"


def test_no_call_is_shown_that_would_need_a_value_for_a_name() -> None:
    assert example_calls(URL, ["/blocks/{height}"]) == ""
    assert example_calls(URL, ["/blocks/{height}", subpaths("/api")]) == f"curl {URL}/api/"


def test_a_path_below_an_exact_prefix_is_explained() -> None:
    hint = subpaths_hint("/ext/bc/coin/api/items?x=1", ["coin", None], ["/api", "/rpc"])
    assert "vmsdk.http.subpaths('/api')" in hint
    assert "exactly that path" in hint


@pytest.mark.parametrize(
    "target",
    ["/ext/bc/coin/api", "/ext/bc/coin/ap/items", "/ext/bc/other/api/items", "/ext/bc/coin/sub/items"],
)
def test_other_missing_paths_need_no_explanation(target: str) -> None:
    assert subpaths_hint(target, ["coin"], ["/api", subpaths("/sub")]) == ""
