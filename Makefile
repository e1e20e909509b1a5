# Sluice: build, test and try. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# uv takes the Python that is there; it never downloads one.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .boot/bin/uv)
BIN := .venv/bin
DATA ?= .sluice
WORKERS ?= logical
ONCE ?=
ARGS ?=

.PHONY: help demo test fuzz lint fmt docs bench lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ONCE=1 with demo: end with the task's result instead of serving on"
	@echo "  ARGS=… with test and bench: further arguments (ARGS='-k chunk', ARGS=--quick)"

.boot/bin/uv:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: uv is not installed, and $(PYTHON) cannot make a virtual environment to fetch it into."; \
	  echo "      Debian, Ubuntu: apt-get install python3 python3-venv"; \
	  echo "      macOS:          brew install uv"; exit 1; }
	@$(PYTHON) -m venv .boot
	@.boot/bin/pip install --quiet --disable-pip-version-check uv

# What runs Sluice, without the tools for tests; leaves installed tools alone.
.venv/.runtime: pyproject.toml uv.lock $(filter .boot/%,$(UV))
	@$(UV) sync --quiet --frozen --inexact --extra all --no-dev
	@touch $@

.venv/.dev: pyproject.toml uv.lock $(filter .boot/%,$(UV))
	@$(UV) sync --quiet --frozen --all-extras --all-groups
	@touch .venv/.runtime $@

# Checkov has an environment of its own: it pins what ours needs newer.
.checkov/.installed: .ci/checkov.txt | .venv/.dev
	@rm -rf .checkov
	@$(UV) venv --quiet --python $(BIN)/python .checkov
	@$(UV) pip sync --quiet --require-hashes --python .checkov .ci/checkov.txt
	@touch $@

demo: .venv/.runtime ## Plan and apply examples/hello on a server and agent of its own, live
	@command -v terraform >/dev/null || { \
	  echo "make demo: terraform is not on PATH, and the demo runs the real one."; \
	  echo "      Install it (https://developer.hashicorp.com/terraform/install), then run 'make demo' again."; \
	  echo "      'sluice doctor' says what else this machine lacks."; exit 1; }
	@$(BIN)/sluice up --data-dir $(DATA) --apply examples/hello $(if $(ONCE),--once)

test: .venv/.dev .checkov/.installed ## Run all tests (they start their own PostgreSQL, Redis and S3)
	@$(BIN)/pytest -n $(WORKERS) --maxprocesses 8 $(ARGS)

# A failure says its seed: FUZZ_SEED=… repeats it.
fuzz: export FUZZ_SPLITS ?= 1000000
fuzz: export FUZZ_SEED ?= $(shell date +%s)
fuzz: export FUZZ ?= 1
fuzz: .venv/.dev ## Mask a million texts that are cut at random, and send all routes made-up requests (FUZZ_SEED=… repeats one)
	@echo "FUZZ_SEED=$$FUZZ_SEED"
	@$(BIN)/pytest -q tests/runner/test_masker.py tests/server/test_schema_fuzz.py tests/server/test_bad_values.py $(ARGS)

lint: .venv/.dev ## Check style, types, import contracts and the docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/house

fmt: .venv/.dev ## Format the code and repair what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/.dev ## Write the tables in docs/reference from the code
	@PYTHONPATH=. $(BIN)/python -m tests.support.reference

bench: .venv/.dev ## Measure against the targets in docs/performance.md (ARGS=--quick: one repetition)
	@$(BIN)/python -m bench.run $(ARGS)

lock: $(filter .boot/%,$(UV)) ## Renew uv.lock from pyproject.toml
	@$(UV) lock

clean: ## Remove what the other targets made (not the demo's data: rm -r .sluice)
	@rm -rf .venv .boot .checkov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
