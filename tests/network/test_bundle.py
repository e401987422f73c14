"""A bundle of the token chain on a real node that another user runs, without HOME."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from vmsdk.chain import keys
from vmsdk.ids import ID
from vmsdk.install.bundle import bundle
from vmsdk.network import LocalNetwork, NewChain, NodeBinary

from .test_tokens import AMOUNT, EXAMPLE, FEE, example

__all__ = ["example"]

USER = "nobody"
RECIPIENT = bytes(19) + b"\1"
# The node's data belongs to the user who starts the network, which is root here.
NODE = """\
#!/bin/sh
for each; do
  case $each in --data-dir=*) chown -R {user} "${{each#*=}}" ;; esac
done
exec setpriv --reuid {user} --clear-groups env -u HOME {node} "$@"
"""

pytestmark = [
    pytest.mark.usefixtures("example"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="only root can start a node as another user",
    ),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's."""
    unpacked = Path(f"/var/tmp/vmsdk-{pwd.getpwnam(USER).pw_uid}")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
    shutil.rmtree(unpacked, ignore_errors=True)


def test_a_transfer_through_a_bundle_that_another_user_runs(
    place: Path, any_node: NodeBinary, make_network: Callable[..., LocalNetwork]
) -> None:
    from tokensvm import Transfer
    from tokenswallet import Node

    built = bundle(str(EXAMPLE / "tokensvm.py"), output=place / "tokens", name="tokens", python=True)
    node = place / "avalanchego"
    node.write_text(
        NODE.format(user=USER, node=shutil.copy(any_node.path, place / "avalanchego-1")), encoding="utf-8"
    )
    node.chmod(0o755)
    # As docs/bundle.md says: the first start unpacks, and a busy machine may take more than 5 s.
    subprocess.run([str(built.path), "--version"], user=USER, env={}, cwd="/", check=True)
    signer = keys.Ed25519Key.generate()
    genesis = json.dumps({signer.address.hex(): 1000}).encode()
    network = make_network(
        NewChain(str(built.path), genesis=genesis, vm_name="tokens"), node=node, directory=place / "network"
    )
    network.start()
    api = Node(f"{network.chain.url(network.nodes[0])}/api")
    signed = Transfer(RECIPIENT, AMOUNT, FEE, 0).sign(signer, ID.from_string(api.get("/chain")["chain_id"]))
    (result,) = api.get("/transfers", {"raw": [signed.raw.hex()]})
    assert result["error"] is None
    network.wait_for_height(1)
    assert api.get(f"/accounts/{RECIPIENT.hex()}")["balance"] == AMOUNT
    running = psutil.Process(network.nodes[0].record.pid).children(recursive=True)
    (plugin,) = (each for each in running if each.exe().startswith("/var/tmp/vmsdk-"))
    assert plugin.username() == USER
    assert "HOME" not in plugin.environ()
