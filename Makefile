# The two commands of the README are `make demo` and `make test`; each installs what it needs.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
DEMO := runs/demo

.PHONY: demo test check bench docs data slow wheel clean

$(VENV)/ready: pyproject.toml scripts/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint scripts/constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint scripts/constraints.txt --editable '.[dev,docs]'
	touch $@

demo: $(VENV)/ready  ## Links, classes and an attack on the embedded graph; compare, draw, predict
	rm -rf $(DEMO)
	$(BIN)/graphlearn train ncnc --dataset stdlib --out $(DEMO)
	$(BIN)/graphlearn train gcn --dataset stdlib --out $(DEMO)
	for name in cn aa ra; do $(BIN)/graphlearn train $$name --dataset stdlib --out $(DEMO) || exit 1; done
	$(BIN)/graphlearn train dagnn --dataset stdlib --out $(DEMO)
	$(BIN)/graphlearn attack dice --dataset stdlib --rates 0.2 --out $(DEMO)/attacked
	for rate in 0 0.2; do $(BIN)/graphlearn train robust-gcn --dataset $(DEMO)/attacked --rate $$rate --out $(DEMO) || exit 1; done
	$(BIN)/graphlearn report $(DEMO) --out $(DEMO)/report
	$(BIN)/graphlearn predict $(DEMO)/ncnc/stdlib/0 --top 20
	$(BIN)/graphlearn predict $(DEMO)/dagnn/stdlib/0 --node pathlib.Path

test: $(VENV)/ready  ## The core tests: no files outside the repository, under ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(VENV)/ready  ## Tests of several processes, compilation and interruption
	$(BIN)/python -m pytest -m 'slow and not gpu and not data'

data: $(VENV)/ready  ## Tests on real data sets under GRAPHLEARN_DATA
	$(BIN)/python -m pytest -m 'data and not gpu'

check: $(VENV)/ready  ## Lint, format, types, structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_structure.py

bench: $(VENV)/ready  ## Every benchmark at smoke size
	$(BIN)/graphlearn bench --smoke

docs: $(VENV)/ready  ## The documentation; a warning is an error
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

wheel: $(VENV)/ready  ## dist/*.whl
	$(BIN)/python -m build

clean:
	rm -rf build dist docs/_build runs/demo
