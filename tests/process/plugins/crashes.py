"""A plugin that ends at once, with a last word."""

from __future__ import annotations

import sys

sys.exit("genesis of a failure")
