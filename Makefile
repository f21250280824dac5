# Every target makes what it needs first: an environment in .venv from the hashed locks, again only when they change.
# `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help demo up check test test-containers test-frameworks bench images compose-secrets protos reference docs locks clean
PYTHON_IN_VENV := .venv/bin/python
# Side by side, as many as there are cores; conftest.py says what stays together.
PARALLEL := -n logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder
PROJECT ?= examples/language-identifier
APIS ?= language-identifier

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

demo: ## start the whole stack with the example and call it over HTTP
	@scripts/setup local
	@$(PYTHON_IN_VENV) -m scripts.demo

up: ## run your own project: make up PROJECT="path/to/project ..."
	@scripts/setup local
	@.venv/bin/insula up $(PROJECT)

check: ## format, lint, types, imports, protos, quick tests (under 2 minutes)
	@scripts/setup dev
	@$(PYTHON_IN_VENV) -m scripts.check

test: ## check, then every test against the real stack (about 15 minutes)
	@scripts/setup dev
	@checked=0; $(PYTHON_IN_VENV) -m scripts.check || checked=1; $(PYTHON_IN_VENV) -m pytest $(PARALLEL) --ignore tests/unit && exit $$checked

test-containers: ## as root: the images, the Compose stack and several hosts; installs podman (about 10 minutes)
	@scripts/setup dev
	@scripts/setup containers
	@$(PYTHON_IN_VENV) -m pytest -m containers $(wildcard tests/containers tests/hosts)

test-frameworks: ## the examples of PyTorch and its like; the first time installs about 1 GB each
	@scripts/setup dev
	@$(PYTHON_IN_VENV) -m pytest -m frameworks tests/frameworks

images: ## build the container images: make images REGISTRY=registry.example.com/ (scripts/images has more variables)
	@REGISTRY="$(REGISTRY)" BASE="$(BASE)" scripts/images

compose-secrets: ## write the secrets of compose.yaml to secrets/: make compose-secrets APIS="language-identifier ..."
	@scripts/setup local
	@$(PYTHON_IN_VENV) -m scripts.compose_secrets secrets $(APIS)

bench: ## compare with other queues (about 12 minutes on a quiet machine)
	@scripts/setup dev
	@$(PYTHON_IN_VENV) -m benchmarks.compare

protos: ## regenerate stubs and descriptor from protos/
	@scripts/setup dev
	@.venv/bin/buf format -w . --path protos
	@$(PYTHON_IN_VENV) -m scripts.generate_stubs

reference: ## write the pages of docs/ that come from the code anew
	@scripts/setup dev
	@$(PYTHON_IN_VENV) -m scripts.generate_reference

docs: ## build the site from README and docs/ as build/site/index.html
	@scripts/setup dev
	@.venv/bin/sphinx-build -q --fail-on-warning --keep-going -c docs -d build/doctrees . build/site

locks: ## write requirements/*.txt anew (scripts/lock --upgrade takes the newest versions)
	@scripts/setup dev
	@scripts/lock

clean: ## remove the environment, the caches and the demo; what `make up` keeps in .insula stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
