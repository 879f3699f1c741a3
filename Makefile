# make demo   evolve the embedded family        make test   install what tests need, pass them
# make test-extras  a search advised by SmolLM2 behind a real server, kept in SMOLLM2=FOLDER
# make bench  where a candidate's seconds go (SMOLLM2=FOLDER of examples/smollm2/prepare.py)
# make bench-kernels  the native kernels against torch and the machine's memory
# make bench-merge  every merge method against mergekit and the machine: METHODS="linear ties",
#                   FAMILY=FOLDER keeps the models, SIZE=tiny, SPARSE_GB=10, BENCH="--repeats 1 …"
# make bench-eval  scorers, racing and estimators, into docs/evaluation.md: PARTS="scorer racing",
#                  SMOLLM2=FOLDER of examples/smollm2/prepare.py, BENCH="--quick"
# make bench-dfs    candidates per second and searchers on paths, into docs/paths.md:
#                   PATH_PARTS="throughput searchers", BENCH="--quick"
# make bench-search  all searchers on the embedded family and what asking them costs, into
#                    docs/search.md: SEARCH_PARTS="zoo overhead", RESULTS=FOLDER keeps the runs,
#                    BENCH="--seeds 1 --write", BENCH="--quick"
# make bench-llm    a search with a language model's advice, and without: LLM=FOLDER of a model,
#                   BENCH="--seeds 3 --zoo-seeds 0"
# make bench-paper  the table of docs/paper.md: FAMILIES=FOLDER keeps the models, BENCH="--quick"
# Torch from another index (a CPU or a particular CUDA build):  make demo TORCH_INDEX=URL

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
SMOLLM2 ?= smollm2
OPPONENT ?= .venv-mergekit
METHODS ?=
SIZE ?= 1.1b
FAMILY ?=
SPARSE_GB ?= 0
BENCH ?= --write
PARTS ?= scorer racing estimators
PATH_PARTS ?= throughput searchers
SEARCH_PARTS ?= zoo overhead
RESULTS ?= build/bench-search
FAMILIES ?= build/alphabets
LLM ?=
BIN := $(VENV)/bin
KERNELS := $(wildcard evomerge/tensor_ops/native/*.?pp)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-extras check bench bench-kernels bench-merge bench-eval bench-dfs bench-search \
	bench-llm bench-paper clean

demo: $(VENV)/installed
	$(BIN)/evomerge demo

test: $(VENV)/tested check
	$(BIN)/python -m pytest --cov --cov-report= -q
	$(BIN)/python -m coverage report

test-extras: $(VENV)/extended
	SMOLLM2=$(SMOLLM2) $(BIN)/python -m pytest -m extras -q

check: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python benchmarks/candidate.py --smollm2 $(SMOLLM2)

bench-kernels: $(VENV)/installed
	$(BIN)/python benchmarks/kernels.py

bench-merge: $(VENV)/installed
	PYTHON=$(PYTHON) TORCH_INDEX=$(TORCH_INDEX) benchmarks/opponent.sh $(OPPONENT)
	$(BIN)/python benchmarks/merge.py --opponent $(OPPONENT) --size $(SIZE) --methods $(METHODS) \
		--sparse-gb $(SPARSE_GB) $(if $(FAMILY),--family $(FAMILY)) $(BENCH)

bench-eval: $(VENV)/evaluated
	$(BIN)/python benchmarks/evaluation.py --parts $(PARTS) --smollm2 $(SMOLLM2) $(BENCH)

bench-dfs: $(VENV)/installed
	$(BIN)/python benchmarks/paths.py --parts $(PATH_PARTS) $(BENCH)

bench-search: $(VENV)/installed
	$(BIN)/python benchmarks/search.py --parts $(SEARCH_PARTS) --results $(RESULTS) $(BENCH)

bench-llm: $(VENV)/tested
	$(BIN)/python benchmarks/llm_ablation.py $(if $(LLM),--model $(LLM)) $(filter-out --write,$(BENCH))

bench-paper: $(VENV)/plotting
	$(BIN)/python benchmarks/paper.py --families $(FAMILIES) $(BENCH)

$(VENV)/installed: pyproject.toml setup.py constraints.txt $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) --editable .
	touch $@

$(VENV)/evaluated: $(VENV)/installed
	$(PIP) --editable '.[eval]'
	touch $@

$(VENV)/plotting: $(VENV)/installed
	$(PIP) --editable '.[plot]'
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/extended: $(VENV)/tested
	$(PIP) --editable '.[test-extras]'
	touch $@

clean:
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
