# make demo    one story from failure to proof, on an embedded PostgreSQL and on SQLite; then the systems' stories
# make test    what a change must pass: ruff, mypy, pytest; installs Debian's chromium where it can
# make test-all    the same with the slow tests, on PostgreSQL 14 to 18; fetches the servers with npm
# make soak    kills, locks, restarts, writers at random for MINUTES=15; then everything is looked at
# make lint    ruff and mypy alone
# make acceptance    the five systems at a million rows, there and back under writers, on both engines
# make bench    every measurement at full size, into docs/performance.md: half an hour of a quiet machine
#
# Needs Python 3.11 or newer (PYTHON=... names one) and nothing else: each command first makes the
# environment that it needs, .venv-demo or .venv, from the pins in requirements/.
# ARGS=... is handed on: make test ARGS="-k upsert"

PYTHON ?=
MINUTES ?= 15
ARGS ?=
SETUP = PYTHON="$(PYTHON)" sh tools/setup.sh

.PHONY: demo test test-all soak lint acceptance bench clean

demo:
	@$(SETUP) demo .venv-demo
	@.venv-demo/bin/onerow demo $(ARGS)
	@.venv-demo/bin/python -m systems demo

test: lint
	@sh tools/browser.sh
	@.venv/bin/python -m pytest -n auto -m "not slow" $(ARGS)

test-all: lint
	@sh tools/browser.sh
	@servers=$$(.venv/bin/python tools/servers.py) && \
		ONEROW_TEST_SERVERS="$$servers" .venv/bin/python -m pytest -n auto $(ARGS)

soak:
	@$(SETUP) test .venv
	@.venv/bin/python -m tests.soak --minutes $(MINUTES) $(ARGS)

lint:
	@$(SETUP) test .venv
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

acceptance:
	@$(SETUP) test .venv
	@.venv/bin/python -m tests.systems.under_writers $(ARGS)

bench:
	@$(SETUP) test .venv
	@.venv/bin/python -m bench all --page docs/performance.md --json bench.json $(ARGS)

clean:
	@rm -rf .venv .venv-demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
