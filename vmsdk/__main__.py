"""`python -m vmsdk`: the command, even if its script is not on the PATH."""

from __future__ import annotations

import sys

from vmsdk.cli import main

sys.exit(main())
