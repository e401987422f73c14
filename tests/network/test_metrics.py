"""A VM's metrics on the page of a real node, judged by Prometheus' own `promtool`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsdk.network import LocalNetwork, NewChain, NodeBinary
from vmsdk.network.client import request

ROOT = Path(__file__).resolve().parents[2]
PROMTOOL = os.environ.get("VMSDK_PROMTOOL") or shutil.which("promtool")
# The node puts the VM's ID into each name, which is mixed case and so not what Prometheus likes,
# except for a few VMs that it knows by name. This is one of them.
NAME = "xsvm"

pytestmark = pytest.mark.skipif(
    PROMTOOL is None,
    reason="there is no promtool: go install github.com/prometheus/prometheus/cmd/promtool@v0.316.0",
)


def promtool(*arguments: str, given: str = "") -> None:
    assert PROMTOOL is not None
    result = subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result


def test_the_page_of_a_real_node_is_without_a_warning(
    make_network: Callable[..., LocalNetwork], any_node: NodeBinary
) -> None:
    target = f"{ROOT / 'examples' / 'timestamp' / 'timestampvm.py'}:TimestampVM"
    network = make_network(NewChain(target, name="metered", vm_name=NAME), nodes=1, node=any_node.path)
    network.start()
    [node] = network.nodes
    network.chain.client(node).call("timestampvm.proposeBlock", data="0x01")
    status, page = request(node.uri.removeprefix("http://"), "GET", "/ext/metrics")
    assert status == 200
    own = [line for line in page.decode().splitlines() if re.match(rf"(# (HELP|TYPE) )?[a-z]+_{NAME}_", line)]
    assert any("_vmsdk_rpc_duration_seconds_bucket{" in line for line in own)
    assert any("_vmsdk_http_requests_total{" in line for line in own)
    promtool("check", "metrics", given="\n".join(own) + "\n")


def test_the_dashboards_expressions_are_promql(tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "examples" / "dashboards" / "vmsdk.json").read_text(encoding="utf-8"))
    expressions = [
        target["expr"].replace("$__rate_interval", "5m").replace("$chain", ".+")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))
