# make help lists the targets. Everything runs in .venv, made on first use.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BACKBONE ?= tiny-random
NOW := backtests/$(shell date +%Y-%m-%d_%H-%M-%S)
DATA ?=
OUTPUT ?= $(NOW)
PARAMETERS ?=

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
DEMO := demo-market
RUN = --output "$(OUTPUT)" --parameter backbone $(BACKBONE) $(PARAMETERS)
REPORT = $(PY) -m evaluation report "$(OUTPUT)/OnlinePortfolio.json"

.PHONY: help setup backtest test check

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## make the environment in .venv (a few minutes, once)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"Python 3.11 is needed, as in the LEAN image, and this is {v[0]}.{v[1]}: name one with make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) with the LEAN image's package versions: a few minutes, once."
	@$(PYTHON) -m venv --clear $(VENV)
	@# torch first: a platform whose index has a CPU build then gets that one
	@$(PY) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# With DATA, or with LEAN data in lean.json's folder, the paper's period; otherwise the invented market's.
ifneq ($(strip $(DATA)),)
backtest: $(READY)  ## run the strategy: DATA=folder BACKBONE=name OUTPUT=folder PARAMETERS="--parameter key value"
	@$(PY) -m minilean backtest . --data-folder "$(DATA)" $(RUN)
	@$(REPORT)
else ifneq ($(wildcard data/equity),)
backtest: $(READY)
	@$(PY) -m minilean backtest . $(RUN)
	@$(REPORT)
else
backtest: $(READY)
	@echo "lean.json's data folder is empty, so this runs on an invented market: its numbers say nothing about real stocks."
	@$(PY) -m minilean data demo $(DEMO)
	@$(PY) -m minilean backtest . --data-folder $(DEMO) --parameter end 2011-12-30 $(RUN)
	@$(REPORT)
endif

check: $(READY)  ## ruff, mypy and the fast tests
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -m "not slow" -n 2

test: $(READY)  ## every test
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -n 2
