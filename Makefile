# Needs make and python3 (3.11 to 3.13). Everything else lands in .venv.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= out
READY := .venv/.ready

.PHONY: reproduce test lint bench docs clean

reproduce: $(READY)           ## every claim judged at rigor quick, every figure drawn, a report of both
	$(BIN)/mdpkit report --store $(OUT)/rows.sqlite --out $(OUT)/report

test: $(READY) lint           ## the whole suite
	$(BIN)/pytest -n 2 --dist loadgroup --max-worker-restart 0 --timeout 600 --durations 12

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)               ## ratios against bare loops and peers; never part of the tests
	$(BIN)/python -m benchmarks

docs: $(READY)                ## the documentation, in out/docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs $(OUT)/docs

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "mdpkit needs Python 3.11 to 3.13; this is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $(READY)

clean:
	rm -rf .venv $(OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
