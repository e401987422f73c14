"""Settings of Hypothesis: the same examples in each run, and no deadline, as the machine may be
busy.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("vmsdk", deadline=None, derandomize=True)
settings.load_profile("vmsdk")
