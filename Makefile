# Every target sets up what it needs in .venv, and does so again when pyproject.toml changes.
#
#   make test ARGS="-k protocol"        more arguments for pytest
#   make test JOBS=0                    one test at a time
#   make run PORT=9700                  another port
#   make PYTHON=python3.12 ...          another interpreter, if .venv doesn't exist yet

PYTHON ?= python3
VENV ?= .venv
PORT ?= 9650
# How many tests run at once. They often wait for processes, so two cores can run more than two; but some
# give a process the 5 s that a node gives it.
JOBS ?= 3
ARGS ?=

BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest --quiet --numprocesses $(JOBS) --dist $(DIST)
# By files, so that a file's fixtures are made once; the processes first, and what is short last. The long
# tests are handed out one by one.
DIST = loadfile --no-loadscope-reorder
test-slow test-nodes: DIST = worksteal
# Bytecode that is kept saves a third of each plugin's start. Some container images ask for none.
unexport PYTHONDONTWRITEBYTECODE
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
NODE_TESTS := tests/interop tests/network
SOURCES := vmsdk examples benchmarks tests proto docs
RUN_READY := $(VENV)/.ready-to-run
ALL_READY := $(VENV)/.ready-for-all
RELEASE_READY := $(VENV)/.ready-to-release
# The interpreters in which `make dist` tries the release.
PYTHONS ?= $(PYTHON)

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-nodes check check-form check-lint check-types check-layers check-made check-docs format docs docs-serve bench dist clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: $(RUN_READY) ## run the timestamp chain, with HTTP on 127.0.0.1:9650
	@$(BIN)/vmsdk dev examples/timestamp/timestampvm.py --port $(PORT) $(ARGS)

test: $(ALL_READY) ## run the tests that need nothing but Python
	$(PYTEST) -m "not slow" $(addprefix --ignore=,$(NODE_TESTS)) $(ARGS)

test-slow: $(ALL_READY) ## run the longer ones: kills, hangs, shortages, soaks, start-up oddities
	$(PYTEST) -m slow $(addprefix --ignore=,$(NODE_TESTS)) $(ARGS)

# Compiled first, so that no test that measures time runs beside a compiler.
test-nodes: $(ALL_READY) ## test with the nodes' own Go code and with real nodes (needs Go)
	@$(BIN)/python -m tests.interop.build
	@$(BIN)/python -m tests.network.build
	$(PYTEST) $(NODE_TESTS) $(ARGS)

check: check-form check-lint check-types check-layers check-made check-docs ## formatting, lint, types, layers, generated files, documentation

check-form: $(ALL_READY)
	$(BIN)/ruff format --check .

check-lint: $(ALL_READY)
	$(BIN)/ruff check .

check-types: $(ALL_READY)
	$(BIN)/mypy $(wildcard $(SOURCES))

check-layers: $(ALL_READY)
	$(BIN)/lint-imports --no-cache

check-made: $(ALL_READY)
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m tests.interop.compatibility --check

check-docs: docs

format: $(ALL_READY) ## format the sources as make check wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m tests.interop.compatibility

docs: $(ALL_READY) ## build the documentation site in build/site; a broken link is an error
	$(MKDOCS) build --config-file docs/site/mkdocs.yml --strict

docs-serve: $(ALL_READY) ## show the documentation on 127.0.0.1:8000 while you write it
	$(MKDOCS) serve --config-file docs/site/mkdocs.yml

bench: $(ALL_READY) ## measure vmsdk against bare grpcio
	$(BIN)/python -m benchmarks $(ARGS)

# The SBOM lists what an installation of the wheel brings.
dist: $(RELEASE_READY) ## build the release in dist/: sdist, wheel and SBOM, checked and tried
	rm -rf dist build/dist
	$(BIN)/python -m pytest --quiet tests/unit/test_changelog.py
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	@set -e; for python in $(PYTHONS); do for file in dist/*.whl dist/*.tar.gz; do \
	  $$python -m venv --clear --without-pip build/dist; \
	  $(BIN)/python -m pip --python build/dist/bin/python install --quiet --disable-pip-version-check $$file; \
	  rm -rf build/my-chain; \
	  (cd build && dist/bin/vmsdk new my-chain >/dev/null && dist/bin/python my-chain/my_chain.py --version); \
	done; done
	$(BIN)/cyclonedx-py environment build/dist --pyproject pyproject.toml --mc-type library \
	  --output-reproducible --output-file dist/vmsdk-$$(build/dist/bin/vmsdk --version | cut -d' ' -f2).cdx.json
	@cd dist && sha256sum * >SHA256SUMS && cat SHA256SUMS

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .cache build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Virtual environment -----------------------------------------------------------------------------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found: install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "vmsdk needs Python 3.10 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1): name another, such as make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) lacks its venv module: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(RELEASE_READY): $(ALL_READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint,release]'
	@touch $@

# It has all extras, so it is ready to run as well.
$(ALL_READY): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@ $(RUN_READY)
