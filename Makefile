# `make run` and `make test` set everything up by themselves; see scripts/setup.sh.
# Settings go in ARGS: make run ARGS="serving.port=7000 overlap=sync"

.DEFAULT_GOAL := help
.PHONY: help run test slow fuzz lint types unit coverage docs package sbom clean
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
ARGS ?=

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

run: ## set up, then start the stream and its page
	@scripts/setup.sh run
	@exec .venv/bin/python -m pp1_orchestrator $(ARGS)

test: ## set up, then lint, types and all tests but the slow ones
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j2 types unit

slow: ## set up, then the tests that take long by their nature
	@scripts/setup.sh test
	@MARK=slow scripts/unit.sh $(PYTEST_ARGS)

TARGET ?= offers
SECONDS ?= 60
fuzz: ## set up, then TARGET=… (a file in tests/fuzz/targets) under inputs without end, for SECONDS=…
	@scripts/setup.sh test
	@python -m tests.fuzz $(TARGET) --seconds $(SECONDS)

lint: ## style, formatting and import rules
	@ruff check .
	@ruff format --check --quiet .
	@lint-imports --no-logo

types: ## the type check
	@pyright

unit: ## the tests; PYTEST_ARGS="-k wire" picks some
	@scripts/unit.sh $(PYTEST_ARGS)

coverage: ## set up, then all tests, and how much of the package they run: less than pyproject.toml says is an error
	@scripts/setup.sh test
	@coverage erase
	@COVERAGE=1 MARK= scripts/unit.sh $(PYTEST_ARGS)
	@coverage combine --quiet
	@coverage html --quiet --fail-under=0
	@coverage report --skip-covered

docs: ## set up, then build the site of docs/ into build/site; a broken link is an error
	@scripts/setup.sh docs
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

package: ## set up, then build dist/: the source archive and the wheel, both checked
	@scripts/setup.sh package
	@rm -rf dist *.egg-info  # an old list of files would be believed
	@python -m build --no-isolation
	@twine check --strict dist/*

sbom: package ## the same, and dist/*.cdx.json: what an installation of the wheel consists of
	@scripts/sbom.sh

clean: ## forget caches and outputs, keep .venv
	rm -rf outputs .coverage* .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
