# `make demo` and `make test` each work alone in a fresh clone. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --warn-undefined-variables
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.installed
PACKAGE := $(VENV)/.package
NODE_PACKAGES := node_modules/.installed
# Processes that the suite is spread over; each starts chains of its own.
JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test check bench soak models mutants artifacts clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

setup: $(PACKAGE) $(NODE_PACKAGES) ## install everything into .venv and node_modules
	@:

demo: setup ## three chains, envelopes of every kind, live; exits 0 only when every outcome is the expected one
	@$(BIN)/comity demo

test: setup ## the whole suite but the long runs
	@$(BIN)/pytest -n $(JOBS) --dist loadfile -m "not soak"

check: setup ## lints, types, direction of imports, contract sizes, gas snapshot, what no file may contain
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest tests/repository tests/static
	@$(BIN)/comity bench gas --check

bench: setup ## gas of the hot paths, and the relayer's pace
	@$(BIN)/comity bench gas
	@$(BIN)/comity bench relay

soak: setup ## long runs of kills and reorgs
	@$(BIN)/pytest -m soak

models: $(ENVIRONMENT) ## check the models of spec/models, and that each broken variant is caught
	@$(call require,spin,spin)
	@$(call require,gcc,gcc libc6-dev)
	@$(BIN)/python spec/models/check.py

mutants: setup ## break the contracts in the ways of tests/mutants; a test must fail for each
	@$(BIN)/python -m tests.mutants

artifacts: setup ## compile the Solidity examples again, for maintainers
	@$(BIN)/python -c 'from pathlib import Path; from comity.compiler import CONTRACTS, save_solidity; \
		[print(save_solidity(source, Path("node_modules"))) for source in sorted(CONTRACTS.rglob("*.sol"))]'

clean: ## remove what the commands above installed and wrote
	@rm -rf $(VENV) node_modules .comity build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests vectors spec -name __pycache__ -prune -exec rm -rf {} +

# Install Debian packages when a program is missing and that is possible: $(call require,program,packages)
define require
	command -v $(1) > /dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(2); } >&2; \
		else \
			echo "$(1) is missing; install it, on Debian with: sudo apt-get install $(2)" >&2; exit 1; \
		fi; }
endef

# The first Python of a supported version, or an explanation.
define find_python
	python=; for name in $${PYTHON:-} python3 python3.13 python3.12 python3.11; do \
		if command -v "$$name" > /dev/null && "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; \
		then python=$$name; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "Python 3.11 or newer is needed, on Debian: sudo apt-get install python3 python3-venv" >&2; exit 1; }
endef

$(ENVIRONMENT): requirements.lock
	@$(find_python); \
	if ! "$$python" -c 'import ensurepip, venv' 2> /dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv; } >&2; \
		else \
			echo "Python's venv is incomplete; on Debian: sudo apt-get install python3-venv" >&2; exit 1; \
		fi; \
	fi; \
	echo "installing the Python packages of requirements.lock into $(VENV)"; \
	"$$python" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

$(PACKAGE): $(ENVIRONMENT) pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(NODE_PACKAGES): package.json package-lock.json
	@command -v npm > /dev/null || { echo "Node.js 20 or newer with npm is needed: it brings Anvil and solc" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || \
		{ echo "Node.js 20 or newer is needed, not $$(node --version)" >&2; exit 1; }
	@echo "installing the Node packages of package-lock.json"
	@npm ci --ignore-scripts --silent
	@touch $@
