# Two commands: `make demo` and `make test`. Everything else is listed by `make help`.
PYTHON ?= python3
Q2C_HOME ?= .q2c
Q2C_PORT ?= 8000
Q2C_SANDBOX_PORT ?= 8900
Q2C_BENCH_PORT ?= 8100
Q2C_BENCH_SANDBOX_PORT ?= 9000
Q2C_CHAOS_PORT ?= 8300
Q2C_CHAOS_SANDBOX_PORT ?= 9200
Q2C_PICTURES_PORT ?= 8200
Q2C_PICTURES_SANDBOX_PORT ?= 9100
WORKERS ?= 3
CHAOS_MINUTES ?= 10
CHAOS_SEED ?=
export Q2C_HOME Q2C_PORT Q2C_SANDBOX_PORT
unexport MAKEFLAGS MFLAGS MAKELEVEL
# Hundreds of processes are started here: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

venv := .venv
py := $(venv)/bin/python
pip := $(py) -m pip install --quiet --disable-pip-version-check
tests = $(py) -m q2c.embedded $(Q2C_HOME)/test env Q2C_HOME=$(Q2C_HOME)/test

chaos = exec env Q2C_CHAOS_PORT=$(Q2C_CHAOS_PORT) Q2C_CHAOS_SANDBOX_PORT=$(Q2C_CHAOS_SANDBOX_PORT) \
	CHAOS_MINUTES=$(CHAOS_MINUTES) CHAOS_SEED=$(CHAOS_SEED) $(py) -m tests.chaos

.PHONY: help demo test check check-all chaos bench golden screenshots worker sandbox reset
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' Makefile

demo: $(venv)/demo.stamp ## the portal with its workers, schedules and vendor sandboxes
	@exec env Q2C_ENV=demo $(py) -m q2c.launch

test: $(venv)/test.stamp ## the whole test suite
	@$(tests) $(py) -m pytest -n $(WORKERS) --maxschedchunk 1 $(ARGS)

check: $(venv)/check.stamp ## ruff, format, mypy, floors, system check, missing migrations, then the tests
	@$(venv)/bin/ruff check .
	@$(venv)/bin/ruff format --check .
	@Q2C_ENV=test $(venv)/bin/mypy
	@$(venv)/bin/lint-imports
	@$(tests) env Q2C_ENV=test $(py) manage.py check
	@$(tests) env Q2C_ENV=test $(py) manage.py makemigrations --check --dry-run
	@$(tests) $(py) -m pytest -n $(WORKERS) --maxschedchunk 1 $(ARGS)

check-all: check ## everything of check, then what takes longer: every flow, 1,000 lost answers, chaos ...
	@$(tests) env Q2C_EVERY_FLOW=1 $(py) -m pytest -n $(WORKERS) --maxschedchunk 1 tests/journeys/test_crashes.py \
		tests/journeys/test_answers.py tests/journeys/test_paused_workers.py tests/journeys/test_refused_commits.py \
		tests/journeys/test_changed_shapes.py
	@$(tests) env Q2C_EVERY_FLOW=1 $(py) -m pytest -n $(WORKERS) --maxschedchunk 1 -m check_all \
		tests/journeys/test_twice.py tests/journeys/test_holds.py tests/journeys/test_in_flight.py
	@$(tests) env Q2C_EVERY_FLOW=1 Q2C_INDEX_ROWS=1000000 $(py) -m pytest tests/journeys/test_hosts.py \
		tests/journeys/test_failover.py tests/journeys/test_vanished.py tests/core/test_indexes.py
	@$(tests) env BILL_RUN_DOCUMENTS=2000 $(py) -m pytest tests/journeys/test_bill_runs.py
	@$(tests) env COMPLETENESS_DOCUMENTS=10000 $(py) -m pytest tests/journeys/test_completeness.py -k one_lost_webhook
	@$(tests) env Q2C_OPERATIONS=5000 $(py) -m pytest tests/journeys/test_infrastructure.py -k in_mid_flight
	@$(tests) env Q2C_TRIALS=1000 Q2C_SHUFFLED=15 $(py) -m pytest tests/journeys/test_lost_answers.py \
		tests/journeys/test_shuffled.py
	@$(chaos)

chaos: $(venv)/test.stamp ## the real processes under fire for CHAOS_MINUTES (10); CHAOS_SEED repeats the torments
	@$(chaos)

bench: $(venv)/bench.stamp ## the figures of PERFORMANCE, to bench-results.json
	@$(py) -m q2c.embedded $(Q2C_HOME)/bench env Q2C_HOME=$(Q2C_HOME)/bench Q2C_ENV=test \
		Q2C_PORT=$(Q2C_BENCH_PORT) Q2C_SANDBOX_PORT=$(Q2C_BENCH_SANDBOX_PORT) $(py) manage.py bench $(ARGS)

golden: $(venv)/test.stamp ## what this release leaves behind, for the next one's tests: only at a release
	@$(tests) env Q2C_EVERY_FLOW=1 $(py) -m pytest tests/upgrades/write_golden.py

screenshots: $(venv)/test.stamp ## pictures of the main screens to docs/screenshots, from a demo of its own
	@exec env Q2C_HOME=$(Q2C_HOME)/pictures Q2C_PORT=$(Q2C_PICTURES_PORT) \
		Q2C_SANDBOX_PORT=$(Q2C_PICTURES_SANDBOX_PORT) $(py) -m tests.pictures

worker: $(venv)/demo.stamp ## one more worker beside a running demo
	@exec env Q2C_ENV=demo $(py) -m q2c.launch worker

sandbox: $(venv)/demo.stamp ## the vendor sandboxes alone
	@exec env Q2C_ENV=demo $(py) manage.py sandbox

reset: ## forget everything that the demo has stored
	@[ ! -x $(py) ] || $(py) -m q2c.launch reset

$(py):
	@$(PYTHON) -m venv $(venv)

$(venv)/demo.stamp: pyproject.toml | $(py)
	@echo "Installing into $(venv) ..."
	@$(pip) -e '.[embedded]'
	@touch $@

$(venv)/test.stamp: pyproject.toml | $(py)
	@echo "Installing into $(venv) with what the tests need ..."
	@$(pip) -e '.[embedded,test]'
	@touch $@ $(venv)/demo.stamp

$(venv)/bench.stamp: pyproject.toml | $(py)
	@echo "Installing into $(venv) with the engines that the bench compares with ..."
	@$(pip) -e '.[embedded,test,bench]' || $(pip) -e '.[embedded,test]'
	@touch $@ $(venv)/test.stamp $(venv)/demo.stamp

$(venv)/check.stamp: pyproject.toml | $(py)
	@echo "Installing into $(venv) with what the checks need ..."
	@$(pip) -e '.[embedded,test,check]'
	@touch $@ $(venv)/test.stamp $(venv)/demo.stamp
