# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment first.

VENV   ?= .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell sh scripts/find-python.sh)
READY  := $(VENV)/.ready
MINUTES ?= 1

export NO_COLOR ?=
export TOKENIZERS_PARALLELISM := false

.PHONY: help demo test check format bench study schema docs wheel clean

help:
	@echo "make demo    environment, then the main job: validate, explain, dry-run, train a small model"
	@echo "make test    environment, then every test"
	@echo "make check   ruff, mypy --strict, import layers, drift of the schema and the generated pages"
	@echo "make bench   the figures of docs/performance.md"
	@echo "make study   the runs, tables and pictures of docs/study.md; about an hour on two cores"
	@echo "make format  ruff's formatter and fixes"
	@echo "make schema  regenerate schemas/ and the generated pages of docs/"
	@echo "make docs    the site of docs/, in site/, with its links checked"
	@echo "make wheel   the wheel, in dist/"

$(READY): pyproject.toml constraints.txt scripts/find-python.sh scripts/system-packages.sh
	@sh scripts/system-packages.sh
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

demo: $(READY)
	@$(BIN)/ava-loss validate presets
	@$(BIN)/ava-loss explain standard
	@$(BIN)/ava-loss dry-run standard --scenario repetitive --vocab-size 4096 --steps 3
	@$(BIN)/python examples/train_small_lm.py --preset standard --minutes $(MINUTES)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ava.config.schema --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/python benchmarks/page.py --check
	$(BIN)/python examples/study/page.py --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(READY)
	$(BIN)/python -m ava.config.schema
	$(BIN)/python docs/generate.py

bench: $(READY)
	$(BIN)/python benchmarks/run_all.py

study: $(READY)
	$(BIN)/python examples/study/run.py
	$(BIN)/python examples/study/page.py --results runs/study/results.json

docs: $(READY)
	$(BIN)/python docs/generate.py --check
	rm -rf site
	$(BIN)/python -m sphinx -b dirhtml -W --keep-going --quiet -d build/doctrees docs site
	$(BIN)/python docs/check_site.py site

wheel: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build --wheel

clean:
	rm -rf dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
