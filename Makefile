# `make demo` shows the thing working, `make test` proves it; both install what they miss.

VENV := .venv
PYTHON := $(VENV)/bin/python
ROOMS := specs facts plans operations deploys connectors
# A type checker does not see an editable install's mapping: give it the import package as links.
TYPES := build/types/pyinfra_nspawn

.PHONY: demo test check lab lab-down bench dist clean

demo: $(VENV)/ready lab
	@$(PYTHON) -m tests.demo

test: $(VENV)/ready
	$(PYTHON) -m pytest

check: $(VENV)/ready $(TYPES)
	@command -v shellcheck >/dev/null || { echo "installing shellcheck ..."; apt-get install -qq shellcheck >/dev/null; }
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p pyinfra_nspawn
	$(VENV)/bin/mypy tests/lab tests/demo.py tests/bench.py inventories
	shellcheck --shell=sh facts/scripts/*.sh operations/scripts/*.sh

lab:
	@python3 -m tests.lab up

lab-down:
	@python3 -m tests.lab down

bench: $(VENV)/ready lab
	@$(PYTHON) -m tests.bench

dist: $(VENV)/ready
	$(PYTHON) -m build

clean:
	rm -rf build dist $(VENV) *.egg-info

$(VENV)/ready: pyproject.toml
	@python3 -c 'import ensurepip' 2>/dev/null || { echo "installing python3-venv ..."; apt-get install -qq python3-venv >/dev/null; }
	@echo "installing pyinfra-nspawn and its tools into $(VENV) ..."
	@python3 -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(TYPES):
	@mkdir -p $@
	@for room in $(ROOMS); do ln -sfn ../../../$$room $@/$$room; done
