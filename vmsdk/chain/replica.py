"""How a second process of a VM differs from the first, so that nondeterminism shows."""

# A separate module, because floors above and below `Chain` share it.

from __future__ import annotations

HASH_SEED = 20259

TIME_ZONE = "Pacific/Marquesas"
"""9:30 h behind UTC."""

DELAY_S = 1.1
"""How much later the second process executes a block, so that clocks with whole seconds differ."""

LOCALE = "de_DE.UTF-8"
"""Writes 1.5 as 1,5. Where it is not installed, a VM that asks for the locale gets an error."""
