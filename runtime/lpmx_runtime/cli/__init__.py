"""The command line: a module per subcommand, imported only when it is called."""

from __future__ import annotations

from lpmx_runtime.process.startup import import_dataclasses

import_dataclasses()
