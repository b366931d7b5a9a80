#!/bin/bash
# Run a make target in a copy of this checkout, for a user who may read it but not write to it.
# Usage: in_copy.sh TARGET...     The copy keeps its virtual environment from call to call; images are the original's.
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
copy=${XDG_CACHE_HOME:-$HOME/.cache}/lpmx-kernels/checkout
export LPMX_TEST_CACHE=${LPMX_TEST_CACHE:-$source/tests/.cache}

echo "in_copy.sh: $source is not ours to write to: working in $copy" >&2
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
excluded=(.git .venv tests/.cache preload/build build '*_cffi.py' _native __pycache__ '*.egg-info' '.*_cache' .hypothesis)
tar -C "$source" "${excluded[@]/#/--exclude=}" -cf - . | tar -C "$copy" -xf -
exec "${MAKE:-make}" --no-print-directory -C "$copy" "$@"
