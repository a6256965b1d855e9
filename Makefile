# make demo | test | check | docs: each prepares .venv by itself; the second call finds it ready.
PYTHON ?= python3
BIN := .venv/bin
TORCH := torch==2.13.0
# one thread per worker: the tests run side by side
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: demo test check lint docs fuzz lock sbom clean help
help:
	@echo "make demo    built-in images from fit to report (about 6 minutes)"
	@echo "make test    everything CI runs (under 12 minutes)"
	@echo "make check   the fast part: ruff, mypy, quick tests (under 2 minutes)"
	@echo "make docs    the site, into site/"
	@echo "make fuzz    damaged files through every door, half an hour (MINUTES=30)"
	@echo "make lock    requirements.lock: versions and hashes of everything that is installed here"
	@echo "make sbom    a bill of materials (CycloneDX), into dist/"

demo: .venv/.runtime
	$(BIN)/decoupe demo

check: lint
	$(TESTS) -q -m "not slow"

test: lint
	$(TESTS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

MINUTES ?= 30
fuzz: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seed $$(date +%j) --found fuzz-found

lock: .venv/.dev
	$(BIN)/python .ci/lock.py

sbom: .venv/.runtime
	mkdir -p dist
	$(BIN)/python .ci/sbom.py dist/decoupe.cdx.json

clean:
	rm -rf .venv site dist .mypy_cache .ruff_cache .pytest_cache

# torch first and alone: a later step never changes which build of it is installed
.venv/.torch:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

.venv/.runtime: .venv/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/.dev: .venv/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@ .venv/.runtime
