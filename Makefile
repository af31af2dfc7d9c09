# Two commands on a fresh machine: `make demo` and `make test`. Each makes its own virtual environment.

PYTHON ?= python3
DEMO_VENV := .venv-demo
TEST_VENV := .venv-test
# PyTorch is the oracle of the parity tests: installed in CI, elsewhere on request (WITH_TORCH=1).
ORACLE := $(if $(filter true 1,$(CI) $(WITH_TORCH)),torch==2.13.0,)
WORKERS ?= 2
SOURCES := $(shell find src -type f -not -name '*.pyc')

.PHONY: demo test lint types bench clean

demo: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/luchina demo

$(DEMO_VENV)/ready: pyproject.toml $(SOURCES)
	test -d $(DEMO_VENV) || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check ".[demo]"
	touch $@

$(TEST_VENV)/ready: pyproject.toml
	test -d $(TEST_VENV) || $(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check -e ".[test]" $(ORACLE)
	touch $@

test: $(TEST_VENV)/ready
	$(if $(ORACLE),$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check $(ORACLE))
	$(TEST_VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal tests

lint: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .

types: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/mypy

bench: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 "matplotlib>=3.8"
	$(TEST_VENV)/bin/python benchmarks/bench.py
	$(TEST_VENV)/bin/python benchmarks/roofline.py
	$(TEST_VENV)/bin/python benchmarks/growth.py
	$(TEST_VENV)/bin/python benchmarks/precision.py

clean:
	rm -rf $(DEMO_VENV) $(TEST_VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache
