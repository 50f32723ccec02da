# Everything a developer types. Needs Python 3.11 or newer and make; the rest is
# installed into .venv from the lock file, each download checked against its hash.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

FUZZ         := .venv-fuzz
FUZZ_STAMP   := $(FUZZ)/.installed
FUZZ_TARGETS := frames client_message broker_message connections

# Of `make demo`: the folder to read (without it this repository) and the manifest to write.
DIR ?=
OUT ?= checksums.sha256
export DIR OUT

# Of `make serve` and `make bench`: flags, as in `make serve ARGS="--log-level debug"`.
ARGS ?=

# Of `make test` and `make test-debug`: flags for pytest, as in `make test TESTS="-k claim"`.
TESTS ?=

# Of `make test`: how many processes run the tests in Python. They wait more than they compute.
PROCESSES ?= 2

# Of `make chaos` and `make fuzz`: for how long, the seed of an earlier run to repeat it, and of
# chaos on which store: embedded, partitioned, sentinel, sentinel-replicated or cluster.
SECONDS ?= 60
SEED ?=
TOPOLOGY ?= embedded

# pytest rewrites the asserts of its plugins: once, where it may keep what it wrote.
unexport PYTHONDONTWRITEBYTECODE

# Of `make bench-peers`, all with commas between them: which queues and workloads, else all; how
# many rounds, and the file for what each came to.
PEERS ?=
WORKLOADS ?=
ROUNDS ?= 3
JSON ?=

SOURCES := broker protocol clients/python
# Tests that are run once more with asyncio's debug mode: those that drive an event loop.
DEBUG_TESTS := tests/broker tests/client tests/store

# Of `make bench-counts`: `write` makes what it costs now the baseline; so many functions to show.
BASELINE ?=
FUNCTIONS ?= 0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv lock serve demo test test-python test-typescript test-go test-debug conformance interop chaos fuzz check check-typescript check-go bench bench-counts bench-delays bench-overload bench-peers format clean

help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## set up .venv (every other target does so by itself)

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Packhorse needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
		echo "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The fuzzer is no part of an ordinary setup: it is large, and not made for every platform.
$(FUZZ_STAMP): requirements/fuzz.txt
	$(PYTHON) -m venv --clear $(FUZZ)
	$(FUZZ)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

lock: $(STAMP) ## renew requirements/*.txt from pyproject.toml (UPGRADE=1: newest versions)
	$(call compile,requirements/broker.txt,--extra broker)
	$(call compile,requirements/dev.txt,--extra broker --group dev)
	$(call compile,requirements/fuzz.txt,--group fuzz)

# One lock for every platform and Python version, with hashes and without an index address.
define compile
$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-emit-package packhorse \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
	pyproject.toml $(2) --output-file $(1)
endef

serve: $(STAMP) ## start a broker with its embedded store (ARGS: its flags)
	$(BIN)/packhorse serve $(ARGS)

demo: $(STAMP) ## checksum the files below DIR (else this repository's) into OUT
	@$(BIN)/python -m examples.checksum $${DIR:+--dir "$$DIR"} --out "$$OUT"

test: test-python test-typescript test-go conformance ## run all tests there are

test-python: $(STAMP) ## run those in Python, interop's among them, and show branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(PROCESSES) --dist loadfile $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-typescript: $(STAMP) ## run the tests of the TypeScript client, if there is npm
	@if command -v npm >/dev/null; then \
		cd clients/typescript && npm ci --silent && npm run --silent check && npm test; \
	else echo "skipped: npm is missing, the TypeScript client was not tested"; fi

test-debug: $(STAMP) ## run the tests that use an event loop in asyncio's debug mode
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest $(DEBUG_TESTS) $(TESTS)

interop: $(STAMP) ## run jobs through all triples of languages: who creates, runs, handles them
	$(BIN)/python -m pytest tests/interop

conformance: $(STAMP) ## run the conformance kit against the broker and each client that is there
	@$(BIN)/python -m tests.conformance.everyone

test-go: $(STAMP) check-go ## run the Go client's checks and tests, if go is there
	@if ! command -v go >/dev/null; then echo "test-go: skipped, there is no go"; exit 0; fi; \
	cd clients/go && go test -race -count=1 ./...

chaos: $(STAMP) ## break everything at random and judge (SECONDS=60 SEED= TOPOLOGY=embedded)
	$(BIN)/python -m tests.history.chaos --seconds $(SECONDS) --seed "$(SEED)" --topology $(TOPOLOGY)

fuzz: $(FUZZ_STAMP) ## give random bytes to what reads frames (SECONDS=60 for each target)
	@for target in $(FUZZ_TARGETS); do \
		PYTHONPATH=protocol $(FUZZ)/bin/python -m tests.fuzz $$target $(SECONDS) \
			$(if $(SEED),--seed $(SEED)) || exit 1; \
	done

check: $(STAMP) check-typescript check-go ## run linters, format checks, types, the architecture test and bench-counts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_architecture.py
	PYTHONHASHSEED=0 $(BIN)/python -m benchmarks.counts --brief

check-typescript: # installs nothing: that is for test-typescript
	@if ! command -v npm >/dev/null; then echo "check-typescript: skipped, there is no npm"; \
	elif [ ! -d clients/typescript/node_modules ]; then \
		echo "check-typescript: skipped, make test-typescript installs what it needs"; \
	else cd clients/typescript && npm run --silent check; fi

check-go:
	@if ! command -v go >/dev/null; then echo "check-go: skipped, there is no go"; exit 0; fi; \
	cd clients/go && unformatted=$$(gofmt -l .) && \
	if [ -n "$$unformatted" ]; then echo "not as gofmt lays it out: $$unformatted"; exit 1; fi && \
	go vet ./...

bench: $(STAMP) ## measure lifecycles, log lines, idle connections, jobs that wait (ARGS: its flags)
	$(BIN)/python -m benchmarks $(ARGS)

bench-counts: $(STAMP) ## compare what a job costs with its baseline (BASELINE=write renews it)
	@PYTHONHASHSEED=0 $(BIN)/python -m benchmarks.counts --functions $(FUNCTIONS) $(if $(filter write,$(BASELINE)),--write)

bench-delays: $(STAMP) ## measure how late delayed jobs start
	$(BIN)/python -m benchmarks.delays

bench-peers: $(STAMP) ## measure other job queues beside it (PEERS= WORKLOADS= ROUNDS=3 JSON=file)
	$(BIN)/python -m benchmarks.peers --rounds $(ROUNDS) --peers "$(PEERS)" \
		--workloads "$(WORKLOADS)" $(if $(JSON),--json "$(JSON)")

bench-overload: $(STAMP) ## measure a broker of which too much is asked: memory, refusals, recovery
	$(BIN)/python -m benchmarks.overload

format: $(STAMP) ## lay out the code and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment, caches and reports
	rm -rf $(VENV) $(FUZZ) .fuzz .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find $(SOURCES) -name '*.egg-info' -prune -exec rm -rf {} +
	find $(SOURCES) tests -name __pycache__ -prune -exec rm -rf {} +
