# make demo   evolve the embedded family        make test   install what tests need, pass them
# make bench  where a candidate's seconds go (SMOLLM2=FOLDER of examples/smollm2/prepare.py)
# Torch from another index (a CPU or a particular CUDA build):  make demo TORCH_INDEX=URL

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
SMOLLM2 ?= smollm2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench clean

demo: $(VENV)/installed
	$(BIN)/evomerge demo

test: $(VENV)/tested check
	$(BIN)/python -m pytest --cov --cov-report= -q
	$(BIN)/python -m coverage report

check: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python benchmarks/candidate.py --smollm2 $(SMOLLM2)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) --editable .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
