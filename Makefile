# `make demo` is the way in; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= sandbox
export RBR_HOME ?= var
export OMP_NUM_THREADS ?= 1

.PHONY: help demo run ui test test-slow lint sandbox-models rule-effects annotator-bias clean

help:
	@echo "make demo       install, run the pipeline on the offline sandbox, print the results"
	@echo "make run        bring every asset up to date (PROFILE=sandbox)"
	@echo "make ui         Dagster UI on port 3000 and MLflow UI on port 5000, both on loopback"
	@echo "make test       lint, types, import contract, fast tests"
	@echo "make test-slow  tests that train or sample"
	@echo "make sandbox-models  train the four models that ship, measure them, write their card (2 cores, an hour and more)"
	@echo "make rule-effects    what edits of rules do to the trained policy, into docs/results.md"
	@echo "make annotator-bias  rules against annotators of more and less bias, into the model card"
	@echo "make clean      remove the state directory ($(RBR_HOME))"

$(VENV)/.pipeline: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[pipeline,train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.pipeline
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[pipeline,train,dev]'
	@touch $@

demo run: $(VENV)/.pipeline
	$(BIN)/rbr run --profile $(PROFILE)

ui: $(VENV)/.pipeline
	$(BIN)/rbr ui --profile $(PROFILE)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -m "not slow" -n 2

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow -n 2 --dist loadfile

sandbox-models: $(VENV)/.pipeline
	$(BIN)/python -m rbr_sandbox.train
	$(BIN)/python -m rbr_sandbox.measure --write

rule-effects: $(VENV)/.pipeline
	$(BIN)/python -m bench.rule_effects --write docs/results.md

annotator-bias: $(VENV)/.pipeline
	$(BIN)/python -m bench.annotator_bias --write rbr_sandbox/models/README.md

clean:
	rm -rf $(RBR_HOME)
