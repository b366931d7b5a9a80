"""An image with an IPython that took its configuration from the notebook's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.jupyter import wait_until

from lpmx_kernels.inside import own

if TYPE_CHECKING:
    from pathlib import Path

OLD = ("ipython==7.20.0", "ipykernel==5.5.6", "jupyter_client<8", "traitlets<5.10", "setuptools")
PLANTED = (
    "ipython_config.py", "ipython_kernel_config.py", "profile_default/ipython_config.py",
    "profile_default/ipython_kernel_config.py", "profile_default/startup/00.py",
)  # fmt: skip


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="that IPython needs an older Python")
def test_old_ipython_runs_the_users_profile_and_not_that_of_the_folder(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tmp_path / "site", *OLD]
    subprocess.run(words, check=True, capture_output=True)
    for name in PLANTED:
        path = tmp_path / "clone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(tmp_path / 'PROOF')!r}, 'w')\n")
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text(f"open({str(tmp_path / 'OWN')!r}, 'w')\n")
    connection = tmp_path / "connection.json"
    kernel = subprocess.Popen(
        [sys.executable, own.__file__, "-f", connection],
        cwd=tmp_path / "clone",
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path / "site"),
            "IPYTHONDIR": str(tmp_path / "ipython"),
        },
    )
    try:
        wait_until((tmp_path / "OWN").exists, "the user's own start-up file has run")
        assert not (tmp_path / "PROOF").exists()
    finally:
        kernel.kill()
        kernel.wait()
