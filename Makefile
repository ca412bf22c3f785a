# Every command of this repository. `make` alone lists them; CI calls the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --silent

# Caches stay in the repository, ignored by git. uv links files out of its cache, so they take their space once.
export UV_CACHE_DIR ?= $(CURDIR)/.uv-cache
export UV_NO_PROGRESS ?= 1
# Only errors of TensorFlow's C++ parts reach the terminal.
export TF_CPP_MIN_LOG_LEVEL ?= 3

BIN := .venv/bin
READY := .venv/.ready
READY_APPS := .venv-apps/.ready
DEMO := var/demo-catalogue
PACKAGES := components encoders few_shot pipeline schemas serving similarity stores studies trainer_module
LOCK := .uv/bin/uv pip compile setup.py --quiet --no-header --no-annotate
# make lock UPGRADE=1 takes the newest versions of everything, UPGRADE=NAME of one package; without it nothing drifts.
UPGRADE ?=
UPGRADES := $(if $(UPGRADE),$(if $(filter 1,$(UPGRADE)),--upgrade,--upgrade-package $(UPGRADE)))
# make bench CASES=FOLDER REFERENCE=FOLDER also runs whole rounds on catalogue folders, beside a linear reference.
CASES ?=
REFERENCE ?=
# make test-chaos OUT=FILE writes its figures there, as JSON.
OUT ?= var/chaos.json
# make test ARGS="-k sampling" passes anything on to pytest.
ARGS ?=

.PHONY: help setup setup-apps run loop test test-fast test-fuzz test-chaos check bench lock protos image manifests-check clean

help: ## list the commands
	awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## make the environment in .venv with the program in .venv/bin/aisle (once; quick after that)

$(READY): locks/pipeline-dev.txt setup.py scripts/setup.sh
	scripts/setup.sh

setup-apps: $(READY_APPS) ## make the small environment in .venv-apps, without TensorFlow: aisle similar, the learner

$(READY_APPS): locks/apps.txt setup.py scripts/setup.sh
	scripts/setup.sh apps

$(DEMO)/aisle.yaml: | $(READY)
	$(BIN)/aisle demo-catalogue $(DEMO) --force >&2

run: setup $(DEMO)/aisle.yaml ## one whole round on the demo catalogue, which is made on the first call
	$(BIN)/aisle run --config $(DEMO)/aisle.yaml

loop: setup $(DEMO)/aisle.yaml ## one turn of the labelling loop: run, answer the batch, import the answers, run again
	scripts/loop.sh $(DEMO)

test: setup ## all tests a bare machine can run, in two processes
	scripts/apt.sh chromium chromium || echo "no browser: the report is not looked at in one" >&2
	$(MAKE) --no-print-directory setup-apps || echo "no small environment: what runs in both is tested in one" >&2
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -rs $(ARGS)

test-fast: setup ## the tests that take less than five seconds each
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

test-fuzz: setup ## damage 10,000 files of every kind of input and read them; 0 crashes, 0 hangs; half an hour
	nice $(BIN)/python -W ignore -m tests.fuzz $(ARGS)
	nice $(BIN)/python -W ignore -m tests.fuzz.similarity_requests
	nice $(BIN)/python -W ignore -m tests.fuzz.serving_requests
	AISLE_FUZZ_INPUTS=10000 $(BIN)/pytest tests/fuzz/test_odd_inputs.py tests/fuzz/test_serving_requests.py

test-chaos: setup ## kill 50 runs at random moments and compare what comes out; OUT=FILE ARGS="--trials 5"; an hour
	nice $(BIN)/python -m tests.chaos.kill_runs --out "$(OUT)" $(ARGS)

check: setup ## format, lint, types, import rule, docs; in seconds
	scripts/check.sh

bench: setup $(DEMO)/aisle.yaml ## measure ingest, rule matching, similarity, batches, scoring; with CASES and REFERENCE whole rounds too
	scripts/bench.sh $(DEMO) "$(CASES)" "$(REFERENCE)"

lock: setup ## compile the lock files from setup.py again; UPGRADE=1 or UPGRADE=NAME for newer versions
	$(LOCK) $(UPGRADES) --python-version 3.10 --extra pipeline --output-file locks/pipeline.txt > /dev/null
	$(LOCK) $(UPGRADES) --python-version 3.12 --extra apps --output-file locks/apps.txt > /dev/null
	$(LOCK) $(UPGRADES) --python-version 3.10 --extra pipeline --extra dev --constraint locks/pipeline.txt --output-file locks/pipeline-dev.txt > /dev/null

protos: setup ## generate Python from the .proto files of schemas/
	scripts/protos.sh

image: ## build the image of the pipeline's steps, tagged by its content; BASE=IMAGE REGISTRY=PREFIX PIP_CONF=FILE BUILDER=PROGRAM
	BASE="$(BASE)" REGISTRY="$(REGISTRY)" PIP_CONF="$(PIP_CONF)" BUILDER="$(BUILDER)" scripts/image.sh steps

manifests-check: setup ## check the Kubernetes manifests against Kubernetes' schemas; needs kubectl
	scripts/manifests_check.sh

clean: ## remove the environment and all caches; var/, with runs and label events, stays
	rm -rf .venv .venv-apps .uv .uv-cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	find $(PACKAGES) benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
