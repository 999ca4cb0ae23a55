# make help lists the targets. Everything runs in .venv, made on first use.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BACKBONE ?= tiny-random
NOW := backtests/$(shell date +%Y-%m-%d_%H-%M-%S)
DATA ?=
OUTPUT ?= $(NOW)
PARAMETERS ?=
MONTHS ?=
SEED ?= 1
SEEDS ?= 10

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP = $(PY) -m pip install --quiet --disable-pip-version-check
NO_PACKAGES = Not every package could be installed; pip says above which. Without a network connection it finds none. \
One that it builds from source needs a C compiler (gcc or clang), which Python 3.11 on Linux, x86-64 or arm64, does not. \
Then: make setup
DEMO := demo-market
RUN = --output "$(OUTPUT)" --parameter backbone $(BACKBONE) $(PARAMETERS)
# what runs in LEAN, and therefore in the cloud
CLOUD := main.py settings.py indicators model $(wildcard research.ipynb)
REPORT = $(PY) -m evaluation report "$(OUTPUT)/OnlinePortfolio.json"

.PHONY: help setup backtest ladder cloud soak test check

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## make the environment in .venv (a few minutes, once)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"Python 3.11 is needed, as in the LEAN image, and this is {v[0]}.{v[1]}: name one with make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) with the LEAN image's package versions: a few minutes, once."
	@$(PYTHON) -m venv --clear $(VENV)
	@# torch first: a platform whose index has a CPU build then gets that one
	@$(PIP) torch==2.13.0 && $(PIP) --editable '.[dev]' || { echo "$(NO_PACKAGES)" >&2; exit 1; }
	@# once, also where PYTHONDONTWRITEBYTECODE would have every start compile them anew
	@$(PY) -m compileall -q minilean evaluation indicators model settings.py
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
	@$(PY) -m minilean data demo "$(DEMO)"
	@$(PY) -m minilean backtest . --data-folder "$(DEMO)" --parameter end 2011-12-30 $(RUN)
	@$(REPORT)
endif

ladder: $(READY)  ## every way of deciding, judged together, into ladder/: DATA=folder SEEDS=10 BACKBONE=name
ifeq ($(strip $(DATA)),)
	@echo "Without DATA this runs on an invented market: its numbers say nothing about real stocks."
	@$(PY) -m minilean data demo "$(DEMO)"
endif
	@$(PY) -m evaluation ladder --data-folder "$(if $(strip $(DATA)),$(DATA),$(DEMO))" --seeds $(SEEDS) \
	$(if $(strip $(DATA)),,--parameter end 2011-12-30) \
	$(if $(filter-out tiny-random,$(BACKBONE)),--backbone "$(BACKBONE)") $(PARAMETERS)

cloud: $(READY)  ## write cloud/OnlinePortfolio, a workspace that `lean cloud push` takes
	@$(PY) -m minilean workspace . cloud/OnlinePortfolio $(CLOUD)

soak: $(READY)  ## a live run that is killed every month, and one in peace, to the bit: MONTHS=127 SEED=1 DATA=folder
	@$(PY) -m tests.soak --seed $(SEED) $(if $(MONTHS),--months $(MONTHS)) $(if $(strip $(DATA)),--data "$(DATA)")

check: $(READY)  ## ruff, mypy and the fast tests
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -m "not slow" -n 2

test: $(READY)  ## every test
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -n 2
