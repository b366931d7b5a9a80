"""Which variables of a kernel look like secrets, and must not stand in a file that others read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(
    r"TOKEN|PASSW(OR)?D|PASSPHRASE|SECRET|CREDENTIAL|(^|_)(API_?)?KEY(_ID)?$|(^|_)(PASS|PW|PWD|AUTH)$",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/\s@]*:[^/\s@]+@|PRIVATE KEY-----"
    r"|^(ghp|gho|ghs|glpat|xox[abp]|sk)[-_]\w{8}"
)


def looks_secret(name: str, value: str) -> bool:
    """Say whether a variable is of the kind that is kept from others: a guess."""
    return bool(_NAME.search(name) or _VALUE.search(value))


def check_public(env: Mapping[str, str], place: str) -> None:
    """Refuse variables that look secret, for a kernel.json that all may read below `place`."""
    for name, value in env.items():
        if looks_secret(name, value):
            raise UsageError(
                f"variable {shown(name)}: looks like a secret, and all who can start kernels of"
                f" {place} can read its value there",
                hint="install the kernel for yourself (--user), where kernel.json is yours alone",
            )
