# Two commands for a fresh machine: `make demo` and `make test`. Both set up all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: docs reference demo test test-full lint clean venv system

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv \
		&& $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: venv
	$(BIN)/python -m tests.run

test-full: venv
	$(BIN)/python -m tests.run --full

# what is written about settings, from the models
reference: venv
	$(BIN)/underlay schema > docs/schemas/inventory.json
	$(BIN)/underlay schema --format markdown > docs/settings-reference.md

# the site, into site/
docs: venv
	$(BIN)/pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --quiet --strict

demo: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" underlay demo
