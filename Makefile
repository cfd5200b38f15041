# docsession: `make run` needs Python 3.11+ and nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ENVSTAMP := $(VENV)/.installed
DEVSTAMP := $(VENV)/.installed-dev

# How many tests run at once.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, len(os.sched_getaffinity(0))))' 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help venv run bench bench-job bench-google bench-cluster test lint types check docs clean drive-table layout

help:            ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(ENVSTAMP): setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEVSTAMP): setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@touch $@ $(ENVSTAMP)

venv: $(DEVSTAMP)  ## an environment with everything that tests and checks need

run: $(ENVSTAMP)   ## serve the demo page and the sandbox Google on http://127.0.0.1:8765/
	$(BIN)/twistd -n --pidfile= docsession --sandbox

tests/strangers/node_modules: tests/strangers/package.json
	@if command -v npm >/dev/null; then \
	    npm install --prefix tests/strangers --no-package-lock --no-audit --no-fund --silent && touch $@; \
	else echo "npm is not here: the test with the npm JSON-RPC client will be skipped"; fi

test: $(DEVSTAMP) tests/strangers/node_modules  ## every test: pytest, and the unit tests under trial too
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not alone'
	$(BIN)/python -m pytest -m alone
	$(BIN)/trial --temp-directory=.trial tests.unit

bench: $(DEVSTAMP) ## the daemon beside its peers: sockets, fan-out, requests, memory; needs gcc, some half an hour
	$(BIN)/python -m benchmarks.sockets --json bench-sockets.json --rst docs/performance.rst

bench-job: $(DEVSTAMP) ## the main job: 200 people, 2,000 files, 100 browsers, cuts and a kill; about two minutes
	$(BIN)/python -m benchmarks.main_job --json bench-main-job.json

bench-google: $(DEVSTAMP) ## what Google is asked, under six strategies, on a virtual clock; some five minutes
	$(BIN)/python -m benchmarks.google_cost --json bench-google.json --rst docs/performance.rst

bench-cluster: $(DEVSTAMP) ## several daemons on one Redis: cost, delay, and what faults do; some fifteen minutes
	$(BIN)/python -m benchmarks.cluster --json bench-cluster.json --rst docs/performance.rst

lint: $(DEVSTAMP)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEVSTAMP) ## mypy --strict
	$(BIN)/mypy

docs: $(DEVSTAMP)  ## README and docs are valid reStructuredText
	for f in README.rst docs/*.rst; do $(BIN)/python -m docutils --report=2 --halt=2 $$f >/dev/null || exit 1; done

check: lint types docs  ## all that is not a test

drive-table: $(DEVSTAMP)  ## make the tables of Drive methods anew from Google's discovery document
	$(BIN)/python scripts/make_drive_table.py
	$(BIN)/python scripts/make_sandbox_table.py

layout: $(DEVSTAMP) ## write the layout in docs/architecture.rst anew from the modules' first sentences
	$(BIN)/python scripts/make_layout.py

clean:           ## remove what was made here
	rm -rf $(VENV) .trial* _trial_temp* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/strangers/node_modules benchmarks/.build benchmarks/.peers
