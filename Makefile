# `make help` lists the targets. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
FILE ?= examples/lighthouse.json
# Test processes. Tests wait more than they compute, so more of them than cores pay off.
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

.DEFAULT_GOAL := help
.PHONY: help run up down test test-long screenshots lint format types lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## Make the frames of the example film, or of FILE=my.json
	@$(BIN)/scene-pipeline run "$(FILE)"

up: $(RUNTIME) ## Start database, frame server and Dagster, to stay; Ctrl-C stops them
	@$(BIN)/scene-pipeline up

down: $(RUNTIME) ## Stop what `make up` started, from another terminal
	@$(BIN)/scene-pipeline down

test: $(DEVELOPMENT) ## Run the tests, about a quarter of an hour
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-long: $(DEVELOPMENT) ## Run the soaks, races and walks that `make test` leaves out
	$(BIN)/python -m pytest -m long --durations 10

screenshots: $(DEVELOPMENT) ## Take the pictures of docs/ui.md anew; needs Chromium
	$(BIN)/python -m scene_pipeline_tests.end_to_end.screenshots

lint: $(DEVELOPMENT) types ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEVELOPMENT)
	$(BIN)/mypy

format: $(DEVELOPMENT) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --custom-compile-command "make lock" --upgrade pyproject.toml build-requirements.in

lock: $(DEVELOPMENT) ## Renew the locked dependencies
	$(COMPILE) -o requirements.txt
	$(COMPILE) --extra dev -c requirements.txt -o requirements-dev.txt

clean: ## Remove the environment; projects and frames stay
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt build-requirements.in pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies (once; about a minute) ..."
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	@echo "Installing what the tests need (once) ..."
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@
