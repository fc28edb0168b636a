# Every target sets up what it needs; nothing is installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := persona_align integrations tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types notebooks docs bench reader browser wheel clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(VENV)/.core  ## Two users, one question, five kinds of reply, offline
	@$(BIN)/persona-align demo

test: $(VENV)/.dev  ## Run all tests, network blocked
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/.dev  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev  ## Check types, strictly
	$(BIN)/mypy

notebooks: $(VENV)/.dev  ## Run every notebook, network blocked
	$(BIN)/python -m pytest tests/test_notebooks.py

docs: $(VENV)/.dev  ## Build the documentation into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.dev  ## Measure, and write benchmarks/results/*.json
	@for script in benchmarks/[a-z]*.py; do \
	  name=$$(basename $$script .py); [ $$name = table ] || { echo "== $$name"; $(BIN)/python -m benchmarks.$$name; } || exit 1; \
	done
	$(BIN)/python -m benchmarks.table

reader: $(VENV)/.dev  ## Train the reader of dimensions that ships, the same bytes on the same machine (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m persona_align.inference.train_dimensions

browser:  ## Install Debian's chromium for the tests of the page
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium)

wheel: $(VENV)/.dev  ## Build the wheel and the sdist into dist/
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build

clean:  ## Remove what the targets made
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[offline]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.core
