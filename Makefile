# `make demo` is the way in; `make help` lists the rest.

PYTHON ?= python3
PORT ?= 8000
QUICK ?=
WORKERS ?= 3

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
INSTALLED := .venv/.installed
# A demo needs no tools of tests, which take long to download and unpack.
DEMO_INSTALLED := .venv/.installed-demo
PACKAGES := app model_store offline loadtest clients/python/src examples tests docs/hooks longtail.py
# Files of tests side by side, so that what a file's tests share is made once; tests/schedule.py has
# their order. A worker more than two cores have: tests wait for processes a good part of their time.
SIDE_BY_SIDE := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# Both workers and more than a hundred processes that tests start load the same modules: they compile
# them once, also where the environment says to write no bytecode.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check audit format typescript bench docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## .venv with everything needed to build, serve and test

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Longtail needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

$(INSTALLED): pyproject.toml constraints.txt clients/python/pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[serve,traces,signatures,s3,kafka,offline,loadtest,dev]' --editable 'clients/python[mcp]'
	@touch $(DEMO_INSTALLED) $@

$(DEMO_INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[serve,offline]'
	@touch $@

demo: $(DEMO_INSTALLED) ## build on MovieLens-100K and serve on 127.0.0.1:$(PORT)
	@exec $(BIN)/longtail demo --port $(PORT)

test: install ## the test suite, but for the tests marked slow
	@$(PYTEST) $(SIDE_BY_SIDE) -m "not slow"

test-slow: install ## the tests marked slow
	@$(PYTEST) $(SIDE_BY_SIDE) -m slow

check: install ## lint, format, types, import rules
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	PYTHONPATH=clients/python/src $(BIN)/lint-imports

# Advisories come from osv.dev. What can't be looked up fails: an audit of nothing must not pass.
audit: ## look up known vulnerabilities of the pinned dependencies at osv.dev
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && \
		build/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	build/audit/bin/pip-audit --strict --vulnerability-service osv --progress-spinner off \
		--no-deps --disable-pip --requirement constraints.txt

format: install ## format and mend what a tool can mend
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

typescript: ## what builds and tests clients/typescript; needs npm
	npm ci --prefix clients/typescript --ignore-scripts --no-audit --no-fund

bench: install ## the serving benchmark; its last line is one JSON document
	@QUICK=$(QUICK) $(BIN)/python -m loadtest.bench --out loadtest/results/bench$(if $(filter-out 0,$(QUICK)),-quick).json

docs: install ## the pages of docs/ as a site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## remove builds, caches and the environment; published bundles and the store stay
	rm -rf .venv builds build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		clients/typescript/node_modules clients/typescript/dist
