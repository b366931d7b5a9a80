"""`lpmx-docker`: a command line of docker's shape."""

from __future__ import annotations

from lpmx_runtime.process.startup import import_dataclasses

import_dataclasses()
