# Two commands: `make demo` and `make test`. Everything else is listed by `make help`.
PYTHON ?= python3
Q2C_HOME ?= .q2c
Q2C_PORT ?= 8000
Q2C_SANDBOX_PORT ?= 8900
Q2C_BENCH_PORT ?= 8100
Q2C_BENCH_SANDBOX_PORT ?= 9000
WORKERS ?= 2
export Q2C_HOME Q2C_PORT Q2C_SANDBOX_PORT
unexport MAKEFLAGS MFLAGS MAKELEVEL

venv := .venv
py := $(venv)/bin/python
pip := $(py) -m pip install --quiet --disable-pip-version-check
tests = $(py) -m q2c.embedded $(Q2C_HOME)/test env Q2C_HOME=$(Q2C_HOME)/test

.PHONY: help demo test check bench worker sandbox reset
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1  /p' Makefile

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

bench: $(venv)/test.stamp ## the figures of PERFORMANCE, to bench-results.json
	@$(py) -m q2c.embedded $(Q2C_HOME)/bench env Q2C_HOME=$(Q2C_HOME)/bench Q2C_ENV=test \
		Q2C_PORT=$(Q2C_BENCH_PORT) Q2C_SANDBOX_PORT=$(Q2C_BENCH_SANDBOX_PORT) $(py) manage.py bench $(ARGS)

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

$(venv)/check.stamp: pyproject.toml | $(py)
	@echo "Installing into $(venv) with what the checks need ..."
	@$(pip) -e '.[embedded,test,check]'
	@touch $@ $(venv)/test.stamp $(venv)/demo.stamp
