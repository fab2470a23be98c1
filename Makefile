# Every target sets up what it needs. A fresh machine needs Python >= 3.11 and make;
# a target marked [node] also needs Node >= 20.

PYTHON ?= python3
CLAIM  ?= line
PY     := .venv/bin/python
VENV   := .venv/.installed
NODE   := $(patsubst %,%/node_modules/.stamp,examples/better-auth tests/e2e/receivers)
STEADY := $(patsubst %,--only %,1 2 3 4 5 6 8)
QUIET  := --quiet --disable-pip-version-check
XDIST  := -n auto --maxprocesses 8 --dist worksteal
LOCK   := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

# Where it is set, everything is compiled anew by each of the hundreds of processes that tests and proofs start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-all check lint types docs bench demo demo-full prove lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' Makefile | while IFS='	' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done

run: $(VENV)  ## Start idsync between two example databases; it prints what happens and a URL
	$(PY) -m examples.run

test: $(VENV)  ## Run the tests that need nothing but Python (under 5 minutes; every core helps)
	$(PY) -m pytest $(XDIST) -m "not node and not browser and not long"

test-all: test $(NODE)  ## Run every test, and every proof in its short form [node]
	$(PY) -m pytest $(XDIST) -m "node or browser or long" --timeout=1800
	$(PY) -m proofs line
	$(PY) -m proofs postgres
	$(PY) -m proofs webhooks-out $(STEADY)

check: $(VENV)  ## Lint, format, types, import law, budgets
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types

lint: $(VENV)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	.venv/bin/lint-imports
	$(PY) -m pytest --quiet tests/test_tidy.py

types: $(VENV)
	$(PY) -m mypy

docs: $(VENV)  ## Write the generated reference pages
	$(PY) -m docs.generate

bench: $(VENV)  ## Measure throughput and latency against bare ceilings (STORE=sqlite or postgres, FULL=1 for the long form)
	$(PY) -m bench

demo: $(VENV) $(NODE)  ## Keep a real Better Auth server and an application's table equal [node]
	$(PY) -m examples.demo

demo-full: demo  ## The demo with every peer this version speaks to: so far the same [node]

prove: $(VENV) $(NODE)  ## Run our claims and print figure, bound and verdict (CLAIM=line, FULL=1 for the long form) [node]
	$(PY) -m proofs $(CLAIM)

lock: $(VENV)  ## Write requirements/*.txt anew from pyproject.toml (UPGRADE=1 takes newer versions)
	$(LOCK) pyproject.toml --output-file requirements/run.txt
	$(LOCK) pyproject.toml --group test --constraint requirements/run.txt --output-file requirements/test.txt

clean:  ## Remove everything that the other targets set up
	rm -rf .venv playground .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist $(dir $(NODE))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.locked: requirements/test.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "idsync needs Python >= 3.11, and '$(PYTHON)' is not one: name another, as in 'make PYTHON=python3.11 ...'" >&2; exit 1; }
	@echo "Setting up .venv (once, about a minute)"
	$(PYTHON) -m venv --clear .venv
	$(PY) -m pip install $(QUIET) --only-binary :all: --require-hashes -r requirements/test.txt
	@touch $@

$(VENV): .venv/.locked pyproject.toml
	$(PY) -m pip install $(QUIET) --no-deps --no-build-isolation --editable .
	@touch $@

$(NODE): %/node_modules/.stamp: %/package-lock.json
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || { echo "This target needs Node >= 20 with npm" >&2; exit 1; }
	cd $* && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
