# Start with `make demo`. `make help` lists all targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= sandbox
export RBR_HOME ?= var
export OMP_NUM_THREADS ?= 1

.PHONY: help demo run ui test test-slow lint sandbox-models rule-effects annotator-bias clean

help:
	@echo "make demo            Install the project, run the pipeline on the offline sandbox, print the results"
	@echo "make run             Bring every asset up to date (PROFILE=sandbox selects the profile)"
	@echo "make ui              Serve the Dagster UI on port 3000 and the MLflow UI on port 5000, on 127.0.0.1"
	@echo "make lint            Check style, spelling, types and imports"
	@echo "make test            Run make lint and the fast tests"
	@echo "make test-slow       Run the tests that train or sample"
	@echo "make sandbox-models  Train the four shipped models, measure them, write the model card (over an hour on 2 cores)"
	@echo "make rule-effects    Measure how edits of rules change the trained policy, write docs/results.md"
	@echo "make annotator-bias  Compare rules with annotators of different bias, write the model card"
	@echo "make clean           Delete the state directory ($(RBR_HOME))"

$(VENV)/.pipeline: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rbr-dagster needs Python 3.11 or newer: make PYTHON=/path/to/python")'
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
	$(BIN)/codespell
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
