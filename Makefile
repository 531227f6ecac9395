# `make demo` shows the thing working, `make test` proves it; both install what they miss.

VENV := .venv
PYTHON := $(VENV)/bin/python
APT := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends

# A file's tests stay together and in order; tests/conftest.py says which files are begun first.
SIDE_BY_SIDE := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

# What a script builds upon and does not use is neither unreachable (2317) nor unused (2034).
SHELLCHECK := shellcheck --shell=sh --exclude=SC2034,SC2317 -

.PHONY: demo test test-fast check lab lab-down bench dist clean

demo: $(VENV)/ready lab
	@$(PYTHON) -m tests.demo

test: $(VENV)/ready
	$(PYTHON) -m pytest $(SIDE_BY_SIDE)

# What needs no lab.
test-fast: $(VENV)/ready
	$(PYTHON) -m pytest $(SIDE_BY_SIDE) tests/unit tests/cases $(wildcard tests/host)

check: $(VENV)/ready
	@command -v shellcheck >/dev/null || { echo "installing shellcheck ..."; $(APT) shellcheck >/dev/null; }
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/mypy -p pyinfra_nspawn
	$(VENV)/bin/mypy --exclude '/(test_.*|conftest)\.py' tests/lab tests/demo.py tests/bench.py inventories
	@# A script is sent with what it builds upon, and is checked like that.
	for script in facts/scripts/*.sh; do cat facts/scripts/parts.sh $$script | $(SHELLCHECK) || exit; done
	for script in operations/scripts/*.sh; do \
		cat operations/scripts/common.sh operations/scripts/beside.sh operations/scripts/shared.sh $$script | $(SHELLCHECK) || exit; done
	for script in tests/by_hand.sh tests/lab/hostile.sh; do $(SHELLCHECK) <$$script || exit; done

lab:
	@python3 -m tests.lab up

lab-down:
	@python3 -m tests.lab down --all

bench: $(VENV)/ready lab
	@$(PYTHON) -m tests.bench

dist: $(VENV)/ready
	$(PYTHON) -m build

clean:
	rm -rf build dist $(VENV) *.egg-info

$(VENV)/ready: pyproject.toml
	@python3 -c 'import ensurepip' 2>/dev/null || { echo "installing python3-venv ..."; $(APT) python3-venv >/dev/null; }
	@echo "installing pyinfra-nspawn and its tools into $(VENV) ..."
	@started=$$(date +%s) && python3 -m venv $(VENV) && \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' && \
		echo "installed: $$(du -sh $(VENV) | cut -f 1), $$(($$(date +%s) - started)) s"
	@touch $@
