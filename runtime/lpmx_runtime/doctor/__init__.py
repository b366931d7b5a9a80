"""`lpmx doctor`: does lpmx work at this site, and what can be done about what does not?

Every examiner is a function from a `Site` to findings; it looks and, where looking is not enough,
tries the thing itself in a temporary folder of the store. Other packages add examiners by the entry
point group `lpmx.examiners` (a function that takes a Site). Nothing is left behind.
"""

from __future__ import annotations

from lpmx_runtime.doctor.site import Site, examine

__all__ = ["Site", "examine"]
