"""How the provisioner tells the fallback kernel what to show. Apart, as this needs no ipykernel."""

from __future__ import annotations

VARIABLE = "LPMX_FALLBACK_REASON"
