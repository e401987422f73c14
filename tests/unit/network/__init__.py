"""Tests of `vmsdk.network` without real nodes."""
