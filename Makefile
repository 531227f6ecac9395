# `make demo` shows the thing working, `make test` proves it; both install what they miss.

VENV := .venv
PYTHON := $(VENV)/bin/python
APT := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends

# A file's tests stay together and in order; tests/conftest.py says which files are begun first.
SIDE_BY_SIDE := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

# What a mode of the program does not use is neither unreachable (2317) nor unused (2034).
SHELLCHECK := shellcheck --shell=sh --exclude=SC2034,SC2317 -

.PHONY: demo docs test test-fast test-vm test-vm-full test-kubelet test-cluster shells check lab lab-vm lab-down bench bench-fleet dist clean

demo: $(VENV)/ready lab
	@$(PYTHON) -m tests.demo

test: $(VENV)/ready shells
	$(PYTHON) -m pytest $(SIDE_BY_SIDE)

# What needs no lab, with the program killed at the renames of one generation only. The tests mostly wait: four run at once.
test-fast: $(VENV)/ready shells
	$(PYTHON) -m pytest --numprocesses=4 --dist=worksteal -m 'not slow' tests/unit tests/cases tests/host

# What takes a real boot, control groups or modules. The machines are booted once, and each test begins from a snapshot.
test-vm: $(VENV)/ready
	$(PYTHON) -m pytest -m 'not full and not kubelet and not cluster' --durations=10 tests/vm

test-vm-full: $(VENV)/ready
	$(PYTHON) -m pytest -m 'not kubelet and not cluster' --durations=10 tests/vm

# A real kubelet in a guest. It is built from Debian's source package, once.
test-kubelet: $(VENV)/ready
	$(PYTHON) -m pytest -m kubelet --durations=10 tests/vm

# A control plane, and two guests that are its nodes.
test-cluster: $(VENV)/ready
	$(PYTHON) -m pytest -s -m cluster --durations=10 tests/vm

# Login shells that somebody may have on a host.
shells:
	@command -v fish >/dev/null && command -v tcsh >/dev/null || \
		{ echo "installing fish and tcsh ..."; { $(APT) fish tcsh; } >/dev/null; }

check: $(VENV)/ready
	@command -v shellcheck >/dev/null || { echo "installing shellcheck ..."; $(APT) shellcheck >/dev/null; }
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/mypy -p pyinfra_nspawn
	$(VENV)/bin/mypy --exclude '/(test_.*|conftest)\.py' tests/lab tests/demo.py tests/bench.py tests/bench_client.py tests/bench_fleet.py inventories
	@# The program is checked whole, with the comments that tell shellcheck why.
	$(PYTHON) -c 'from pyinfra_nspawn.facts.program import source; print(source(), "main facts host", sep="\n")' | $(SHELLCHECK)
	@$(MAKE) --no-print-directory docs
	for script in tests/by_hand.sh tests/lab/hostile.sh tests/lab/files/kubelet/describe-api.sh; do $(SHELLCHECK) <$$script || exit; done

# Warnings are errors. What is generated from the package must be what is committed.
docs: $(VENV)/ready
	$(PYTHON) -m sphinx -q -W --keep-going -b html docs build/docs
	git diff --exit-code --stat -- docs/pictures docs/schema

lab:
	@python3 -m tests.lab up

lab-vm:
	@python3 -m tests.lab.vm up

lab-down:
	@python3 -m tests.lab down --all

bench: $(VENV)/ready lab
	@$(PYTHON) -m tests.bench

bench-fleet: $(VENV)/ready lab
	@$(PYTHON) -m tests.bench_fleet

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
