# make demo: the simulated microscope with its live page.   make test: everything that must hold.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint browser hub labextension screenshots wheel clean

demo: $(VENV)/.installed
	$(BIN)/nextpyp-nb demo

test: $(VENV)/.tested browser hub lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

browser:
	@sh .ci/browser

# JupyterHub's proxy is a program of node; without it the tests of the hub are skipped, and say so.
hub: $(VENV)/.installed
	@[ -x $(BIN)/configurable-http-proxy ] || ! command -v npm >/dev/null || \
	  npm install --silent --no-audit --no-fund --fetch-retries=0 --fetch-timeout=20000 \
	    --global --prefix $(VENV) configurable-http-proxy@5 || \
	  echo "configurable-http-proxy could not be installed by npm: the hub is not tested"

# The pictures in docs/screenshots, of a session on simulated movies: some minutes.
screenshots: $(VENV)/.tested browser
	$(BIN)/python docs/screenshots.py

labextension:
	$(PYTHON) labextension/build.py

# Known mistakes, one after the other, in a copy of the package: do the tests notice? A quarter of an hour.
mutants: $(VENV)/.tested
	$(BIN)/python tests/mutants.py --out build/mutants.json

# All faults at full size, hours; writes the table in docs/faults.md.
soak: mutants
	$(BIN)/nextpyp-nb bench faults --full --mutants build/mutants.json --out docs/faults.md

wheel: $(VENV)/.tested
	$(BIN)/python -m build

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "nextpyp_nb needs Python 3.11 to 3.13; '$(PYTHON)' is `$(PYTHON) -V`. Try: make PYTHON=python3.11 demo"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python has no venv: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build dist
