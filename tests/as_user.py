#!/usr/bin/env python3
"""Run the tests again as an ordinary user: once as they are and, at the same time, once under the
denier of privileges. For root.

usage: as_user.py [--plain] [--denied] [PYTEST-OPTION...]      neither: both

Each run has an account and a scratch folder of its own. The output of the first comes as it is
written, that of the second when both have ended. The project is installed from its wheel for those
users first, so these runs also test the installed package from outside the checkout. See
support/users.py and support/nopriv.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))
from images.build import cache_folder
from support.users import USER, Stage, build_stage, ensure_user, user_command

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a process may do depends on who runs it; what Python code computes does not. So unit tests
# stay out.
SELECTION = ("tests/integration", "tests/conformance")


@contextlib.contextmanager
def running(
    place: Stage, arguments: list[str], output: IO[bytes] | None, *, denied: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """One run of pytest as an ordinary user, its scratch folder there for as long as the block."""
    # What belongs to an account (processes, a store, /tmp's folders) is then of one run only.
    account = ensure_user(f"{USER}-denied" if denied else USER)
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
        say(f"\n== tests {title} ({account.pw_name}), engine {engine}\n", output)
        wrapped = user_command(command, account.pw_name, denied=denied)
        with subprocess.Popen(
            wrapped, cwd=place.checkout, env=env, stdout=output, stderr=output
        ) as process:
            yield process


def say(text: str, output: IO[bytes] | None) -> None:
    """Write to @output, or to what we print."""
    file = output or sys.stdout.buffer
    file.write(text.encode())
    file.flush()


def main(arguments: list[str]) -> int:
    if os.geteuid() != 0:
        print("as_user.py: you are an ordinary user already; run pytest", file=sys.stderr)
        return 2
    chosen = [name for name in ("--plain", "--denied") if name in arguments]
    rest = [argument for argument in arguments if argument not in chosen]
    place = build_stage(cache_folder())
    with contextlib.ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = []
        kept: list[IO[bytes]] = []
        for name in chosen or ["--plain", "--denied"]:
            if processes:
                kept.append(stack.enter_context(tempfile.TemporaryFile()))
            run = running(place, rest, kept[-1] if kept else None, denied=name == "--denied")
            processes.append(stack.enter_context(run))
        statuses = [process.wait() for process in processes]
        for output in kept:
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
    return 1 if any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
