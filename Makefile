# Every target does its own set-up: `make demo` or `make test` on a fresh clone is enough.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(VENV)/bin/pytest
WORKERS ?= 2

SOURCES := src envs agents configs experiments
SHIPPED := $(sort $(shell find $(SOURCES) -name __pycache__ -prune -o -type f -print))
FILE_LIST := $(VENV)/.file-list
INSTALLED := $(VENV)/.installed

# One thread per test worker; NumPy and PyTorch would start one per core each.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: $(INSTALLED) ## Set up .venv with pinned versions (PYTHON=... picks the interpreter)

$(PY):
	@command -v $(PYTHON) > /dev/null || { echo "make: $(PYTHON) not found: Python 3.11 or newer is needed (make PYTHON=/path/to/python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or newer is needed, %s is %s (make PYTHON=/path/to/python3)" % (sys.executable, sys.version.split()[0]))'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: $(PYTHON) -m venv failed (is the venv module installed?)" >&2; exit 1; }

# A strict editable install is a tree of links, so a file added or removed needs a new one: the list changes when they do.
.PHONY: FORCE
$(FILE_LIST): FORCE | $(PY)
	@printf '%s\n' $(SHIPPED) | cmp -s - $@ || printf '%s\n' $(SHIPPED) > $@

$(INSTALLED): pyproject.toml setup.py constraints.txt $(FILE_LIST) | $(PY)
	@echo "Installing into $(VENV) (some minutes the first time) ..."
	@$(PY) -m pip install -qq -c constraints.txt setuptools
	@$(PY) -m pip install -qq -c constraints.txt --no-build-isolation -e '.[all,dev,docs]'
	@touch $@

.PHONY: test
test: $(INSTALLED) ## Quick tests
	$(PYTEST) -n $(WORKERS)

.PHONY: test-all
test-all: $(INSTALLED) ## Quick and slow tests
	$(PYTEST) -n $(WORKERS) -m 'slow or not slow'

.PHONY: lint
lint: $(INSTALLED) ## Style and common mistakes
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

.PHONY: types
types: $(INSTALLED) ## Type check the package
	$(VENV)/bin/mypy | sed -E 's#^.*/?build/__editable__[^/]*/echelongym/##'

.PHONY: format
format: $(INSTALLED) ## Rewrite files in the project's style
	$(VENV)/bin/ruff check --fix --exit-zero .
	$(VENV)/bin/ruff format .

.PHONY: docs
docs: $(INSTALLED) ## The documentation as a site, in build/site
	$(PY) docs/site/pages.py
	$(VENV)/bin/sphinx-build -q -W --keep-going -E -c docs/site docs build/site
	$(PY) docs/site/links.py build/site

.PHONY: demo
demo: $(INSTALLED) ## The main job on real store demand: tune, train, benchmark, pictures
	$(VENV)/bin/echelongym demo scenario=grocery

.PHONY: bench
bench: $(INSTALLED) ## Speed beside goals, rooflines and PEER_PYTHON's packages (ROWS="single vector" JSON=FILE)
	$(PY) -m echelongym.experiments.studies.engine_speed $(if $(PEER_PYTHON),--peer '$(PEER_PYTHON)') $(if $(ROWS),--rows $(ROWS)) $(if $(JSON),--json '$(JSON)')

.PHONY: wheel-test
wheel-test: $(INSTALLED) ## Build the wheel and run the quick tests on it, outside the checkout
	WORKERS=$(WORKERS) .ci/wheel-test

.PHONY: clean
clean: ## Remove build products and caches (.venv is kept, and linked anew by the next target)
	rm -rf build dist docs/reference/api *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(INSTALLED)
	find $(SOURCES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
