# `make` alone says what there is.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The first of these that is Python 3.13; a pyenv shim may be there and not work.
PYTHON := $(shell for python in python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null \
	&& { echo $$python; break; }; done)
UV := .tools/uv/bin/uv
RUN := .venv/bin/python
LISTS := src/requirements cli/requirements tests/requirements local/requirements/uv local/requirements/ministack \
	local/requirements/sam local/requirements/consumers

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: environments ## Watch the schedule issue tokens, on this machine
	@$(RUN) -m local demo

.PHONY: local
local: environments consumers ## Keep that up, for trying things by hand
	@$(RUN) -m local up

.PHONY: test
test: environments consumers ## Run all tests but the long ones
	@$(RUN) -m pytest --numprocesses 4 --no-loadscope-reorder # in the order of tests/conftest.py

.PHONY: coverage
coverage: environments ## Run those of the issuer, and show what of src/ none of them runs
	@$(RUN) -m pytest --cov --numprocesses 4 tests/issuer --ignore tests/issuer/simulation

.PHONY: test-long
test-long: environments consumers ## Run the long ones: the promise, redeploys, the demo itself
	@$(RUN) -m pytest -m long --numprocesses 3 --no-loadscope-reorder

.PHONY: bench
bench: environments ## Measure it beside how others do it: some 20 minutes
	@$(RUN) -m benchmarks

.PHONY: picture
picture: environments ## Draw the dashboard of a simulated day: docs/operations.svg
	@PYTHONPATH=src $(RUN) -m tests.watched.picture

.PHONY: check
check: environments ## Run the linters: ruff, mypy --strict, cfn-lint, sam validate
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy
	@.venv/bin/mypy --python-version 3.10 reader/visma_tokens # the oldest that consumers may have
	@.venv/bin/cfn-lint template.yaml examples/lambda/template.yaml
	@AWS_DEFAULT_REGION=eu-north-1 SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam validate --lint

.PHONY: environments
environments: .venv/.made .tools/ministack/.made .tools/sam/.made

.PHONY: consumers
consumers: .tools/consumers/.made examples/node/node_modules/.made

.tools/uv/.made: local/requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed and not found:" \
		"install it, for instance with 'pyenv install 3.13' or 'brew install python@3.13'." >&2; exit 1; }
	@echo "Making .tools/uv …"
	@$(PYTHON) -m venv --clear .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes \
		--requirement $<
	@touch $@

.venv/.made: tests/requirements.txt
.tools/ministack/.made: local/requirements/ministack.txt
.tools/sam/.made: local/requirements/sam.txt
.tools/consumers/.made: local/requirements/consumers.txt
.venv/.made .tools/ministack/.made .tools/sam/.made .tools/consumers/.made: .tools/uv/.made
	@echo "Making $(@D) …"
	@$(UV) venv --quiet --clear --python .tools/uv/bin/python $(@D)
	@$(UV) pip sync --quiet --require-hashes --python $(@D)/bin/python $(filter %.txt,$^)
	@touch $@

examples/node/node_modules/.made: .tools/consumers/.made examples/node/package-lock.json
	@echo "Making $(@D) …"
	@PATH="$(CURDIR)/.tools/consumers/bin:$$PATH" npm ci --prefix examples/node --loglevel error --no-audit --no-fund >/dev/null
	@touch $@

.PHONY: lock
lock: .tools/uv/.made ## Compile the pinned lists anew from the .in files
	@for list in $(LISTS); do $(UV) pip compile --quiet --upgrade --universal --python-version 3.13 \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		$$list.in --output-file $$list.txt || exit 1; done

.PHONY: clean
clean: ## Remove environments, builds and caches
	@rm -rf .aws-sam .tools .venv examples/node/node_modules examples/lambda/.aws-sam .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
