.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
# Tests wait more than they compute: three at a time on two cores take two thirds of the time of two.
JOBS ?= 3
# Services and tests start hundreds of processes: without compiled files each compiles everything again.
export PYTHONDONTWRITEBYTECODE :=
PYTEST = $(BIN)/pytest -q -n $(JOBS) --no-loadscope-reorder

# The virtual environment, made again whenever the pinned requirements change.
$(READY): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON to its path"; exit 1; }
	@echo "setting up .venv from requirements/dev.txt (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(READY) ## make the virtual environment with the pinned dependencies

.PHONY: lock
lock: $(READY) ## resolve pyproject.toml again into requirements/*.txt (pinned, with hashes)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/production.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra traces -c requirements/production.txt pyproject.toml -o requirements/traces.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra devstack --extra traces --extra test pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group load -o requirements/load.txt

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

.PHONY: run
run: $(READY) ## start the whole pipeline on this machine, with an embedded broker and database
	@$(BIN)/headrace dev

.PHONY: demo
demo: $(READY) ## send a real clickstream through the pipeline and print its answers
	@$(BIN)/headrace demo

.PHONY: format
format: $(READY) ## format the code and mend what the linter can mend
	$(BIN)/ruff format services tests
	$(BIN)/ruff check --fix services tests

.PHONY: lint
lint: $(READY) ## format, lint, types, import rules: no test
	$(BIN)/ruff format --check services tests
	$(BIN)/ruff check services tests
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: docs
docs: $(READY) ## write the pages of docs/reference from the code, and deploy/clickhouse into its example for Kubernetes
	$(BIN)/python -m tests.support.reference
	$(BIN)/python -m tests.support.operator_files

.PHONY: sbom
sbom: $(READY) ## list the packages of the image, as CycloneDX: dist/headrace.cdx.json
	@$(BIN)/python -m tests.support.packages sbom

.PHONY: audit
audit: $(READY) ## look for known vulnerabilities in the packages of the image; fails where no database answers
	@$(BIN)/python -m tests.support.packages audit

IMAGE ?= headrace:latest

.PHONY: image
# One fixed time for all files: that of the last commit, unless it is given.
image: REQUIREMENTS ?= production
image: SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
image: ## build the image, of equal inputs bit by bit the same: BASE_IMAGE=python:3.11-slim@sha256:... IMAGE=name:tag
	@case "$(BASE_IMAGE)" in *@sha256:*) ;; *) echo "set BASE_IMAGE to a base with its digest: name@sha256:..."; exit 1;; esac
	@mkdir -p dist
	docker buildx build --file deploy/Dockerfile --build-arg BASE_IMAGE=$(BASE_IMAGE) \
	  --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) --build-arg REQUIREMENTS=$(REQUIREMENTS) --provenance=false --sbom=false \
	  --output type=oci,dest=dist/headrace.oci.tar,name=$(IMAGE),rewrite-timestamp=true $(ARGS) .
	sha256sum dist/headrace.oci.tar

.PHONY: screenshots
screenshots: $(READY) ## a picture of each page of the console, light and dark, desk and phone (FOLDER=.data/screenshots)
	$(BIN)/python -m tests.support.screenshots $(or $(FOLDER),.data/screenshots)

.PHONY: unit
# These compute and do not wait: one for each core. With more than four, loading takes longer than it saves.
unit: JOBS = logical --maxprocesses=4
# There are no properties among them: the plugin would load Hypothesis to say nothing.
unit: PYTEST += -p no:hypothesispytest
unit: $(READY) ## unit tests: this process alone, seconds (ARGS="-k name" and the like go to pytest)
	$(PYTEST) tests/unit $(ARGS)

.PHONY: slow
slow: export HYPOTHESIS_PROFILE ?= quick
slow: $(READY) ## tests of this process that take their time: properties with few examples, much data, waiting
	$(PYTEST) tests/slow $(ARGS)

.PHONY: check
check: lint unit slow ## lint, unit and slow tests: what to run before each commit

.PHONY: engine
engine: $(READY) ## tests on a real ClickHouse
	$(PYTEST) tests/engine $(ARGS)

.PHONY: pipeline
pipeline: $(READY) ## tests of the whole pipeline, on each broker that is there
	$(PYTEST) tests/pipeline $(ARGS)

.PHONY: test
test: lint ## everything: lint and all tests, on the strongest broker and engine that are there; says which
	$(PYTEST) tests $(ARGS)

.PHONY: fuzz
fuzz: $(READY) ## 100,000 odd texts through the edge into ClickHouse and back (TEXTS=n for another number)
	HEADRACE_FUZZ_TEXTS=$(or $(TEXTS),100000) $(PYTEST) tests/engine/test_fuzz.py $(ARGS)

.PHONY: fault
fault: $(READY) ## kill, stop and cut everything under load; stored must equal accepted (FAULT="--help" for the options)
	$(BIN)/python -m tests.fault $(FAULT)

.PHONY: bench-dedupe
bench-dedupe: $(READY) ## the index of ids at 1, 10 and 50 million: bytes an id, look-ups a second, time to load
	$(BIN)/python -m tests.bench.dedupe

# The peers of the benchmark need other versions of some libraries: a virtual environment of their own.
BENCH_READY := .venv-bench/.ready
$(BENCH_READY): requirements/bench.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON to its path"; exit 1; }
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/bench.txt
	@touch $@

.PHONY: bench
bench: $(READY) $(BENCH_READY) ## the ingest path against its limits and its peers: a table, a JSON file, plots (QUICK=1: short)
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick)

.PHONY: bench-against
bench-against: $(READY) ## what an event costs here beside what it cost in BASE=<commit> (ONLY=1,2,3 TURNS=10; ARGS=--help)
	$(BIN)/python -m tests.bench.against $(if $(BASE),--base $(BASE)) $(if $(ONLY),--only $(ONLY)) $(if $(TURNS),--turns $(TURNS)) $(ARGS)

# The producers are Locust's: gevent changes a process as a whole, so they have a virtual environment of their own.
LOAD_READY := .venv-load/.ready
$(LOAD_READY): requirements/load.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON to its path"; exit 1; }
	@$(PYTHON) -m venv .venv-load
	@.venv-load/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/load.txt
	@touch $@

.PHONY: load
load: $(READY) $(LOAD_READY) ## the whole system in containers under load, and what it held (LOAD="--help" for the options)
	$(BIN)/python -m tests.load $(LOAD)

.PHONY: soak
soak: $(READY) $(LOAD_READY) ## the same for hours, and what grows: memory, disk, freshness, parts, query times (HOURS=2; SOAK="--help")
	$(BIN)/python -m tests.load.soak $(if $(HOURS),--hours $(HOURS)) $(SOAK)

.PHONY: bench-query
bench-query: $(READY) $(BENCH_READY) ## every query on a realistic history of 10 million events, beside other ways and DuckDB
	$(BIN)/python -m tests.bench.query
