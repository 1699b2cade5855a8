# Gristmill: `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint bench clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed: make PYTHON=python3.11 ..."; exit 2; }
	@echo "building $(VENV) from requirements.lock (once, a few minutes)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/installed  ## build .venv if needed, then run the recipe python-docs from corpus to model
	@$(BIN)/gristmill run

test: $(VENV)/installed lint  ## build .venv if needed, then lint, types and tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(VENV)/installed  ## the heavy proofs: a Prefect server with a worker, kill -9, documented commands
	@$(BIN)/python -m pytest -m slow --timeout=1200

lint: $(VENV)/installed  ## ruff, import-linter, mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

bench: $(VENV)/installed  ## measurements, written to benchmarks/results/*.json
	@$(BIN)/python -m benchmarks.demo
	@$(BIN)/python -m benchmarks.licences_holdout

clean:  ## remove .venv and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
