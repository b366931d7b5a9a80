"""`lpmx-singularity`: a command line of Apptainer's and Singularity's shape."""

from __future__ import annotations

from lpmx_runtime.process.startup import import_dataclasses

import_dataclasses()
