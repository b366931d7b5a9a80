"""The host's end of a submit command: `python -m lpmx_runtime.batch SYSTEM COMMAND ARG...`."""

from __future__ import annotations

import sys

from lpmx_runtime.batch.submit import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
