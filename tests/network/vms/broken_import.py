"""A VM that cannot be imported."""

from __future__ import annotations

import a_module_that_is_not_there  # type: ignore[import-not-found] # noqa: F401

import vmsdk


class BrokenVM(vmsdk.ChainVM):
    pass
