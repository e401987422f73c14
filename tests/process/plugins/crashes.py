"""A plugin that ends at once, with a last word."""

import sys

sys.exit("genesis of a failure")
