.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE ?= 1

help:  ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements.lock pyproject.toml
	@bash tools/setup.sh $(PYTHON)

setup: .venv/ready  ## a virtual environment with everything, in .venv, and the dashboard's browser code
	@$(BIN)/python tools/assets.py

demo: setup  ## the main job: start an environment, stage, fit and apply the threat hunting module
	$(BIN)/labdock demo

test: setup  ## everything that the tests need, then all tests
	bash tools/test.sh

test-fast: setup  ## the tests that need no service and no more than a few seconds each
	$(BIN)/pytest -q -n 2 -m "not slow and not browser and not docker and not kubernetes and not postgresql"

check: setup  ## format, lint, types, import contract
	@bash tools/check.sh

image: setup  ## build the images of images/ with the local Docker Engine
	bash images/build.sh

docs: setup  ## regenerate what docs/ takes from the code
	$(BIN)/python tools/make_docs.py

bench: setup  ## measure, side by side with the peer's way
	$(BIN)/python -m benchmarks

.PHONY: help setup demo test test-fast check image docs bench
