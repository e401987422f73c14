"""Measurements of vmsdk, each beside a floor in the same run: `make bench`."""
