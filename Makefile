# SPDX-License-Identifier: Apache-2.0
# Every target first does what is missing of the set-up; where nothing is, that takes a moment.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Two targets at once would wait for each other's set-up anyway.
.NOTPARALLEL:

VENV := .venv/bin

.PHONY: help setup setup-demo setup-console setup-fleet build demo pick console fleet docs test test-slow fuzz soak lock licences sbom audit lint format clean

help: ## Shows this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Installs what is missing (Debian packages, .venv, ROS 2 where none is sourced) and builds
	@tools/setup

setup-demo:
	@tools/setup sim

setup-fleet:
	@tools/setup fleet sim

setup-console:
	@tools/setup console sim

build: setup ## Builds the messages and the package into install/

demo: setup-demo ## A simulated camera, the node, two operators: prints a table, saves images
	@tools/run --private python -m lisa_ros.demo

pick: setup-demo ## An arm in PyBullet picks up the object that a command names: PICK="--scenes 50 --gif pick.gif", or PICK="'the red mug'"
	@tools/run --private python -m lisa_ros.demo.pick $(PICK)

console: setup-console ## A simulated camera, the node and the operators' page in a browser
	@tools/run lisa console --simulated

fleet: setup-fleet ## A model server, three robots, and a replica that is killed meanwhile: prints a table
	@tools/run --private python -m lisa_ros.demo.fleet

docs: setup ## Builds the documentation site into output/docs; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --quiet

test: lint ## Lint, types and all tests but the slow ones
	@tools/run --private pytest -q -n 2 --dist loadscope --durations=25 --durations-min=5 --reruns 1 -rfER

test-slow: setup ## The slow tests alone: a fresh clone of HEAD, long runs
	@tools/run --private pytest -q -m slow

fuzz: setup ## 50,000 random messages to one node, then a million hostile texts, files, images and requests
	@PYTHONPATH=test/processes:test/helpers tools/run --private python test/processes/fuzzing.py
	@HOSTILE_SCALE=$${HOSTILE_SCALE:-46} tools/run --private pytest -q --timeout=0 test/hostile

soak: setup ## 30 minutes of everything together (SOAK_MINUTES=N): memory, files, threads, times; output/soak has a plot
	@PYTHONPATH=test/processes:test/helpers:test/soak tools/run --private python test/soak/soak.py --minutes $${SOAK_MINUTES:-30}

lock: ## Writes requirements.lock: every version of the environment, with hashes
	@tools/supply/make_lists lock

licences: setup ## Writes docs/licences.md: the licence of every Python package
	@tools/supply/make_lists licences

sbom: setup ## Writes output/sbom.cdx.json: a bill of materials (CycloneDX) of the environment
	@tools/supply/make_lists sbom

audit: ## Looks up known vulnerabilities of all packages in requirements.lock (pip-audit)
	@tools/supply/make_lists audit

lint: setup ## ruff (lint and format) and mypy --strict
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy

format: setup ## Formats the sources
	@$(VENV)/ruff check --fix .
	@$(VENV)/ruff format .

clean: ## Removes what setup and build made; rendered views and training states in .cache/ stay
	rm -rf build install log .venv .cache/log .cache/*.log .cache/setup.lock .mypy_cache .ruff_cache .pytest_cache *.egg-info
