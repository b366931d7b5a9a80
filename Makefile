# make demo        a notebook cell runs inside a container made of real image layers
# make test        all tests: as you and, for root, again as ordinary users, one of them under a denier of privileges
# make test-fast   seconds, no image        make test-long   with the tests that take minutes
# make check       formatters, linters, types, warnings        make bench   docs/benchmarks.md
#
# The C build is preload/Makefile; the Python build is setup.py, which calls it. What is made here lies in .venv,
# preload/build and tests/.cache, and `make clean` removes all but the built images.

SHELL := /bin/bash
# A python3 that others installed for themselves may not be ours to run: then the system's.
PYTHON ?= $(shell for python in python3 /usr/bin/python3; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
IMAGES := tests/images/build.py
PYTEST := $(BIN)/python -m pytest tests

.DEFAULT_GOAL := build
TARGETS := build demo test test-fast test-user test-long check format bench images prepare clean

ifneq ($(shell test -w . && { test ! -e $(VENV) || test -w $(VENV); } && echo yes),yes)

# Somebody else's checkout: work in a copy of it, with its built images.
$(TARGETS):
	@tests/support/in_copy.sh $@

else

C_FILES := find preload tests -name '*.[ch]' ! -path '*/.cache/*' ! -path '*/build/*'
NATIVE := $(wildcard preload/Makefile preload/loader/lpmx-exec.ld \
    $(foreach levels,* */* */*/*,$(addprefix preload/$(levels).,[ch] def py)))

build: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml setup.py $(NATIVE) | prepare
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@[ -e $(BIN)/wheel ] || $(BIN)/python -m pip install -q --disable-pip-version-check 'setuptools>=64' wheel cffi
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

# Root installs what is missing; others are told by whatever needs it.
prepare:
	@[ $$(id -u) != 0 ] || tests/images/prepare.sh

demo: build
	@$(IMAGES) demo
	$(BIN)/python examples/demo.py "$$($(IMAGES) --paths demo)"

images: build
	@$(IMAGES)

test: build images
	$(MAKE) -s -j$$(nproc) -C preload check-c
	$(PYTEST) --tier full
	@[ $$(id -u) != 0 ] || $(MAKE) --no-print-directory test-user

test-fast: build
	$(MAKE) -s -j$$(nproc) -C preload check-c
	$(PYTEST) --tier fast

test-long: build images
	$(MAKE) -s -j$$(nproc) -C preload check-c
	$(PYTEST) --tier long

test-user: build images
	$(BIN)/python tests/as_user.py --tier full

check: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p lpmx_runtime -p lpmx_kernels -p lpmx_galaxy
	MYPYPATH=tests:bench:runtime:galaxy $(BIN)/mypy tests/as_user.py tests/conftest.py bench/run.py bench/scale.py
	$(C_FILES) | xargs clang-format --dry-run -Werror
	$(MAKE) -s -C preload
	$(BIN)/python -m pytest -q tests/unit/test_sources.py tests/unit/test_c_graph.py

format: build
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(C_FILES) | xargs clang-format -i

bench: build images
	$(BIN)/python bench/run.py --write docs/benchmarks.md

clean:
	$(MAKE) -s -C preload clean
	rm -rf $(VENV) build dist runtime/lpmx_runtime/_native runtime/lpmx_runtime/_uufs_cffi.py
	rm -rf tests/.cache/user-*

endif

.PHONY: $(TARGETS)
