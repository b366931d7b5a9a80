"""Which batch system `auto` means."""

from __future__ import annotations

import pytest

from lpmx_runtime.batch.systems import find_system
from lpmx_runtime.errors import LpmxError


@pytest.fixture
def path(tmp_path):
    """path(COMMAND...): a PATH with these commands."""

    def make(*names):
        for name in names:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        return str(tmp_path)

    return make


def test_auto_takes_what_is_there(path):
    assert find_system("auto", path(), {}) == ""
    assert find_system("auto", path("qsub", "qconf"), {}) == "sge"
    assert find_system("auto", path("sbatch"), {}) == "slurm"


def test_auto_takes_the_one_of_several_that_the_shell_is_set_up_for(path):
    both = path("sbatch", "qsub", "qconf")
    assert find_system("auto", both, {"SGE_ROOT": "/opt/sge"}) == "sge"
    assert find_system("auto", both, {"SGE_ROOT": "", "SLURM_CONF": "/x"}) == "slurm"
    assert find_system("auto", both, {"PBS_SERVER": "head"}) == "slurm"


def test_a_system_that_is_asked_for_must_be_there(path):
    assert find_system("none", path("sbatch"), {}) == ""
    with pytest.raises(LpmxError, match="batch: sge: there is no qsub on the PATH"):
        find_system("sge", path("sbatch"), {})
