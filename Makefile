# Every target works from a bare checkout: the virtual environment is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install demo test coverage test-slow test-gpu bench bench-quick results lint format docs

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

install: .venv/installed  ## Make .venv and install rtp with its development tools

.venv/installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing rtp and its development tools into .venv: some minutes the first time"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/runs

.venv/runs: pyproject.toml  # rtp and what it imports, without the tools of `install`
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing rtp with torch and Lightning into .venv: some minutes and 2 GB the first time"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

demo: .venv/runs  ## Distil real digit images into 640 floats and test what they are worth (4 minutes on two cores)
	@run=logs/digits_ipc1/demo-$$(date +%Y%m%d-%H%M%S) && \
	$(BIN)/rtp fit --config configs/digits_ipc1.yaml --run_dir $$run && \
	$(BIN)/rtp test --ckpt_path $$run/best.ckpt --evaluation.baselines true

# one thread each: two workers of two threads on two cores wait for each other at every operation
test coverage test-slow: export OMP_NUM_THREADS = 1
test: install  ## Run the tests (under 10 minutes on two cores)
	$(BIN)/python -m pytest --numprocesses 2

coverage: install  ## Run them and count the lines of rtp that they run, as CI does (half as long again)
	$(BIN)/python -m pytest --numprocesses 2 --cov=rtp --cov-report=term:skip-covered --cov-fail-under=95

test-slow: install  ## Run the tests that take minutes: twenty kills of one run
	$(BIN)/python -m pytest -m slow

test-gpu: install  ## Run the tests that need a CUDA GPU
	$(BIN)/python -m pytest -m gpu

bench: install  ## Measure speed and memory on this machine, 10 to 25 minutes on two cores
	$(BIN)/python -m benchmarks

bench-quick: install  ## The same at a smaller size, in under 5 minutes
	$(BIN)/python -m benchmarks --quick

results: install  ## Render the tables of the results from docs/results
	$(BIN)/python docs/render_results.py

lint: install  ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install  ## Put the code into the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: install  ## Build guides and API reference into site/; a broken link or a public name without an entry is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
