#!/usr/bin/env python3
"""Run the tests again as an ordinary user: once as they are, once under the denier of privileges.
For root.

usage: as_user.py [--plain] [--denied] [PYTEST-OPTION...]      neither: both

The project is installed from its wheel for that user first, so these runs also test the installed
package from outside the checkout. See support/users.py and support/nopriv.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from images.build import cache_folder
from support.users import Stage, build_stage, ensure_user, user_command

# What a process may do depends on who runs it; what Python code computes does not. So unit tests
# stay out.
SELECTION = ("tests/integration", "tests/conformance")


def run_tests(place: Stage, arguments: list[str], *, denied: bool) -> int:
    """One run of pytest as the ordinary user; its exit status."""
    account = ensure_user()
    # Root's run is of the default engine, these are of the two others.
    engine = os.environ.get("LPMX_TEST_ENGINE") or ("trap" if denied else "eager")
    selection = [name for name in SELECTION if (place.checkout / name).exists()]
    with tempfile.TemporaryDirectory(prefix="lpmx-as-user-", dir="/var/tmp") as scratch:
        os.chown(scratch, account.pw_uid, account.pw_gid)
        command = [
            str(place.python), "-m", "pytest", "-p", "no:cacheprovider",
            f"--basetemp={scratch}/pytest", *arguments, *selection,
        ]  # fmt: skip
        env = {
            **os.environ,
            "TMPDIR": scratch,
            "PATH": f"{place.venv}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LPMX_TEST_CACHE": str(place.folder),
            "LPMX_TEST_DENIED": "1" if denied else "",
            "LPMX_TEST_ENGINE": engine,
        }
        title = "under the denier of privileges" if denied else "as an ordinary user"
        print(f"\n== tests {title} ({account.pw_name}), engine {engine}", flush=True)
        wrapped = user_command(command, denied=denied)
        return subprocess.run(wrapped, cwd=place.checkout, env=env, check=False).returncode


def main(arguments: list[str]) -> int:
    if os.geteuid() != 0:
        print("as_user.py: you are an ordinary user already; run pytest", file=sys.stderr)
        return 2
    chosen = [name for name in ("--plain", "--denied") if name in arguments]
    rest = [argument for argument in arguments if argument not in chosen]
    place = build_stage(cache_folder())
    runs = chosen or ["--plain", "--denied"]
    statuses = [run_tests(place, rest, denied=name == "--denied") for name in runs]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
