"""The plugin. A node starts it without arguments; `version` and `version-json` describe it."""

from __future__ import annotations

import json
import sys

from xsvm.vm import XSVM

import vmsdk
from vmsdk.ids import vm_id
from vmsdk.protocol import DEFAULT_PROTOCOL

NAME = "xsvm"


def main() -> None:
    """Run the plugin, or print its version in one of the two forms of AvalancheGo's."""
    if sys.argv[1:] == ["version"]:
        print(f"{NAME}:")
        print(f"  VMID:           {vm_id(NAME)}")
        print(f"  Version:        {XSVM.version}")
        print(f"  Plugin Version: {DEFAULT_PROTOCOL}")
    elif sys.argv[1:] == ["version-json"]:
        versions = {
            "name": NAME,
            "vmid": str(vm_id(NAME)),
            "version": XSVM.version,
            "rpcchainvm": DEFAULT_PROTOCOL,
        }
        print(json.dumps(versions, indent=2))
    else:
        vmsdk.serve(XSVM())


if __name__ == "__main__":
    main()
