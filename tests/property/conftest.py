"""Hypothesis for this folder: the same examples each time, and no deadline on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("vmsdk", deadline=None, derandomize=True)
settings.load_profile("vmsdk")
