# Everything runs in an environment of its own, .venv, made at first use.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Another environment that happens to be active is not the one that is used here.
unexport VIRTUAL_ENV

.PHONY: help demo lab test test-matrix lint bench js clean

help:
	@echo "make demo   run the quickstart notebook against a practice cluster"
	@echo "make lab    open it in JupyterLab, with the practice cluster up"
	@echo "make test   style, types and all tests"
	@echo "make test-matrix  the kernel-level tests on what hosted notebooks ship; SETS=colab: on that"
	@echo "make bench  measure"
	@echo "make js     build the terminal widget's script from js/; needs Node.js and npm"

$(BIN)/.lab: pyproject.toml setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lab]'
	@touch $@

$(BIN)/.dev: $(BIN)/.lab
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(BIN)/.lab
	$(BIN)/ecs-exec-magic demo

lab: $(BIN)/.lab
	$(BIN)/ecs-exec-magic lab

lint: $(BIN)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n auto --dist loadfile

# Each set of tests/matrix/ has an environment of its own in .venv-matrix.
test-matrix:
	$(PYTHON) -m tests.matrix $(SETS)

bench: $(BIN)/.dev
	$(BIN)/python -m bench

# The packages bring nothing that has to run; so nothing of them does.
js:
	cd js && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent build

clean:
	rm -rf $(VENV) .venv-matrix js/node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
