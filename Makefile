# Everything a user or developer does here, on a machine that has Python 3.11 or newer, make and git.
# `make help` lists the targets. Nothing outside the checkout is touched.

PYTHON ?= python3
VENV ?= .venv
# An experiment file, for example config/overcooked.yaml. Empty: the default experiment.
CONFIG ?=
# Further arguments for pytest, for example ARGS="-k rollback".
ARGS ?=
# Test processes at a time.
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# -qq: pip says nothing but errors.
# A uv to install with instead of pip: the same packages in a tenth of the time. Empty: pip, which every Python has.
UV ?=
# The locks hold all that is needed; --no-deps, because overrides.txt leaves out what some packages ask for in vain.
PIP_LOCKED := $(if $(UV),$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python,$(PIP) install -qq) \
	--require-hashes --no-deps

# The two locks install into one environment, one after the other.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install dev run test quick slow compiled check example format bench soak lock image clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) CONFIG=$(CONFIG) ARGS=$(ARGS) JOBS=$(JOBS)"

# Stamp files inside the environment say what is installed, so that nothing is done twice.
MADE := $(VENV)/.made
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed
PROJECT := $(VENV)/.project-installed

install: $(RUN) $(PROJECT) ## install into VENV what is needed to run
	@echo "Ready: $(BIN)/rollgym --help"

dev: $(DEV) $(PROJECT) ## install what is needed to test as well

run: $(RUN) $(PROJECT) ## the main job: server and two peers, plays, stores a dataset (CONFIG=file)
	@exec $(BIN)/rollgym run $(CONFIG)

test: dev ## run the tests (ARGS="-k name")
	$(BIN)/python -m pytest -n $(JOBS) --not-slow $(ARGS)

slow: dev ## run the tests that are too slow for every edit: kills, random environments, fleets of matches
	$(BIN)/python -m pytest -n $(JOBS) --slow $(ARGS)

quick: dev ## the tests that take no time, and one short match: for the loop of an edit
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -n $(JOBS) --quick $(ARGS)

compiled: dev ## compile what is played at every frame, and test that form (needs a C compiler)
	$(BIN)/python -m scripts.compiled_tree build/compiled
	cd build/compiled && PYTHONPATH="$$PWD" HYPOTHESIS_PROFILE=quick $(abspath $(BIN))/python -P -m pytest -n $(JOBS) \
		tests/protocol/test_build_form.py tests/protocol/test_packets.py tests/rollback tests/record tests/sim/test_matrix.py

check: dev ## lint, formatting, types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

example: dev ## the peer in JavaScript plays verified matches (needs Node 18 or newer, and npm)
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		echo "examples/node-peer needs Node 18 or newer and npm. On Debian and Ubuntu: apt install nodejs npm" >&2; exit 2; }
	cd examples/node-peer && npm ci --no-audit --no-fund
	$(BIN)/python -m scripts.check_example

format: dev ## format the sources and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: dev ## run every benchmark, benchmarks/bench_*.py
	@for file in benchmarks/bench_*.py; do \
		name=$$(basename "$$file" .py); \
		[ -e "$$file" ] || { echo "No benchmarks in benchmarks/."; exit 1; }; \
		echo "== $$name"; \
		$(BIN)/python -m "benchmarks.$$name" || exit 1; \
	done

# ROLLGYM_SOAK: all fifty kills of tests/e2e/test_kills.py, all ten thousand uploads of tests/server/test_ingest_fuzz.py.
soak: dev ## the tests with new, many more random examples, kills and broken uploads
	ROLLGYM_SOAK=1 HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -n $(JOBS) --timeout 3600 $(ARGS)

image: ## build the container image without a daemon and start it once (docs/docker.md)
	scripts/image-check

clean: ## remove the environment, caches and build results; data/ stays
	rm -rf $(VENV) .venv-* build dist examples/node-peer/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A half-made environment has no stamp and is made again from nothing.
$(MADE):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; name another one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "rollgym needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		for other in python3.13 python3.12 python3.11; do \
			if command -v $$other >/dev/null && $$other -c '' 2>/dev/null; then \
				echo "This machine has $$other: try the same command with PYTHON=$$other" >&2; exit 2; fi; \
		done; \
		echo "Install a newer Python and name it: make install PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
		echo "On Debian and Ubuntu: apt install python$$version-venv" >&2; exit 2; }
	@echo "Making the environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUN): $(MADE) requirements/run.txt requirements/build.txt
	@echo "Installing what requirements/run.txt pins"
	@$(PIP_LOCKED) -r requirements/run.txt -r requirements/build.txt
	@touch $@

# dev.txt holds everything that run.txt and build.txt hold.
$(DEV): $(MADE) requirements/dev.txt
	@echo "Installing what requirements/dev.txt pins"
	@$(PIP_LOCKED) -r requirements/dev.txt
	@touch $@ $(RUN)

# The build backend is already there, from a lock.
$(PROJECT): $(MADE) pyproject.toml
	@echo "Installing rollgym itself, editable"
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

# Locks: universal (one file for all systems and Pythons), with hashes, without any address. build.txt makes a pure wheel
# and is part of every installation, compile.txt makes a compiled one and is for the image.
LOCKED_UV := .venv-lock/bin/uv
LOCK := $(LOCKED_UV) --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade \
	--override requirements/overrides.txt
$(LOCKED_UV): requirements/uv.txt
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip --disable-pip-version-check install -qq --require-hashes -r requirements/uv.txt

lock: $(LOCKED_UV) ## resolve all dependencies anew into requirements/
	$(LOCK) pyproject.toml --extra overcooked --extra render -o requirements/run.txt
	$(LOCK) pyproject.toml --extra overcooked --extra render --extra dev -c requirements/run.txt -o requirements/dev.txt
	echo hatchling | $(LOCK) - -c requirements/dev.txt -o requirements/build.txt
	printf '%s\n' hatchling mypy setuptools | $(LOCK) - -c requirements/dev.txt -o requirements/compile.txt
	echo uv | $(LOCK) - -o requirements/uv.txt
	@! grep -nE '://|file:|^--?[a-z]' requirements/*.txt || { echo "an address or option got into a lock" >&2; exit 1; }
