# What a fresh clone needs: Python 3.11 or newer, and make. Everything else goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTEST_ARGS ?=
SURVEY_ARGS ?=
# Of the benches: auto, cuda, rocm or cpu; and by how many per cent a median may be slower.
BACKEND ?= auto
SLOWER ?= 15

# The ready example: the same one that the terminal UI opens on.
EXAMPLE := --cluster ai-factory-groningen --devices 1024 --model llama-3-70b \
           --seq-len 8192 --global-batch 2048

.DEFAULT_GOAL := help
.PHONY: help run test check format gpu bench bench-baseline bench-compare clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## open the terminal UI; without a terminal, print the same prediction
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/twin tui; else $(BIN)/twin predict $(EXAMPLE); fi

test: $(VENV)/.installed-dev  ## run the tests
	$(BIN)/python -m pytest -n $(JOBS) -rs $(PYTEST_ARGS)

check: $(VENV)/.installed-dev  ## lint, format, types, import contracts, sizes, units
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_sizes.py
	$(BIN)/python .ci/check_units.py

format: $(VENV)/.installed-dev  ## put the code into the format that check wants
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

gpu:  ## measure this machine's GPU into measured/; needs numpy and cupy or torch, no .venv
	$(or $(PYTHON),python3) -m kernels.survey $(SURVEY_ARGS)

bench: $(VENV)/.installed-dev  ## run the benches; BACKEND=cuda, PYTEST_ARGS=--quick
	$(BIN)/python -m pytest benches --backend $(BACKEND) --benchmark-only \
	    --benchmark-sort=name --benchmark-columns=median,iqr,rounds $(PYTEST_ARGS)

bench-baseline: $(VENV)/.installed-dev  ## record this device's speed in benches/baselines
	@mkdir -p measured
	$(BIN)/python -m pytest benches --backend $(BACKEND) \
	    --benchmark-json=measured/benches.json --benchmark-columns=median,iqr,rounds $(PYTEST_ARGS)
	$(BIN)/python -m benches.baseline record measured/benches.json

bench-compare: $(VENV)/.installed-dev  ## fail where a kernel is slower than that by SLOWER per cent
	file=$$($(BIN)/python -m benches.baseline where --backend $(BACKEND)) && \
	$(BIN)/python -m pytest benches --backend $(BACKEND) --benchmark-compare="$$file" \
	    --benchmark-compare-fail=median:$(SLOWER)% --benchmark-columns=median,iqr,rounds $(PYTEST_ARGS)

clean:  ## remove the environment and all caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache .benchmarks snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml .ci/constraints.txt .ci/install
	@sh .ci/install $(VENV) .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml .ci/constraints.txt .ci/install
	@sh .ci/install $(VENV) '.[dev]'
	@touch $@ $(VENV)/.installed
