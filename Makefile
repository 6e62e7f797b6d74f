# `make` alone says what there is.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Nothing else of a person's shell reaches what is started here: that file says why.
KEPT := $(shell sed -n 's/^\([A-Za-z@_][^ ]*\).*/\1/p' local/environment.ini | tr '*' '%')
$(foreach name,$(filter-out $(KEPT),$(.VARIABLES)),\
	$(if $(findstring environment,$(origin $(name))),$(eval unexport $(name))))
export PYTHONUTF8 := 1
ifneq ($(shell test -w "$$TMPDIR" && echo writable),writable)
unexport TMPDIR
endif
ifneq ($(shell test -w "$${XDG_CACHE_HOME:-$$HOME}" && echo writable),writable)
export XDG_CACHE_HOME := $(CURDIR)/.tools/cache
export npm_config_cache := $(CURDIR)/.tools/cache/npm
endif

# The first of these that is Python 3.13; a pyenv shim may be there and not work.
PYTHON := $(shell unset PYENV_VERSION; for python in python3.13 python3 python; do \
	$$python -I -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null \
	&& { echo $$python; break; }; done)
UV := .tools/uv/bin/uv
RUN := .venv/bin/python
# A person's settings of pip say from where packages come. Other settings could say which, or where to install them:
# uv reads none, and installs what pip has downloaded.
PIP := .tools/uv/bin/python -m pip --quiet --quiet --disable-pip-version-check
DOWNLOAD = PIP_CONSTRAINT=/dev/null $(PIP) download --no-deps --require-hashes --only-binary :all:
INSTALL = $(UV) pip sync --quiet --config-file /dev/null --offline --no-index --require-hashes
PROCESSOR = $(subst arm64,aarch64,$(shell uname -m))
LISTS := src/requirements cli/requirements tests/requirements local/requirements/uv local/requirements/ministack \
	local/requirements/sam local/requirements/consumers

# Not before a command: a shell in between would hide from it that make was killed.
demo local bench picture: export PYTHONPATH := src

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
	@$(RUN) -m pytest --cov --numprocesses 4 tests/issuer tests/runs tests/contract

.PHONY: test-long
test-long: environments consumers ## Run the long ones: the promise, redeploys, the demo itself
	@$(RUN) -m pytest -m long --verbose --numprocesses 3 --no-loadscope-reorder # who waits for minutes sees names

.PHONY: bench
bench: environments ## Measure it beside how others do it: some 20 minutes
	@$(RUN) -m benchmarks

.PHONY: picture
picture: environments ## Draw the dashboard of a simulated day: docs/operations.svg
	@$(RUN) -m tests.helpers.picture

.PHONY: check
check: environments ## Run the linters: ruff, mypy --strict, cfn-lint, sam validate
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy
	@.venv/bin/mypy --python-version 3.10 reader/visma_tokens # the oldest that consumers may have
	@# not the .cfnlintrc of a person, or their samconfig.toml
	@HOME="$(CURDIR)/.tools" .venv/bin/cfn-lint template.yaml examples/lambda/template.yaml
	@HOME="$(CURDIR)/.tools" AWS_DEFAULT_REGION=eu-north-1 SAM_CLI_TELEMETRY=0 \
		.tools/sam/bin/sam validate --lint --config-file local/sam.toml

.PHONY: environments
environments: .venv/.made .tools/ministack/.made .tools/sam/.made .tools/wheels/.made

.PHONY: consumers
consumers: .tools/consumers/.made examples/node/node_modules/.made

.tools/uv/.made: local/requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed and not found:" \
		"install it, for instance with 'pyenv install 3.13' or 'brew install python@3.13'." >&2; exit 1; }
	@echo "Making .tools/uv …"
	@$(PYTHON) -m venv --clear .tools/uv
	@$(DOWNLOAD) --dest $(@D)/wheel --requirement $<
	@PIP_CONFIG_FILE=/dev/null $(PIP) install --no-index --find-links $(@D)/wheel --requirement $<
	@touch $@

.venv/.made: tests/requirements.txt
.tools/ministack/.made: local/requirements/ministack.txt
.tools/sam/.made: local/requirements/sam.txt
.tools/consumers/.made: local/requirements/consumers.txt
.venv/.made .tools/ministack/.made .tools/sam/.made .tools/consumers/.made: .tools/uv/.made
	@echo "Making $(@D) …"
	@$(UV) venv --quiet --config-file /dev/null --clear --python .tools/uv/bin/python $(@D)
	@$(DOWNLOAD) --dest $(@D)/wheels --requirement $(filter %.txt,$^)
	@$(INSTALL) --find-links $(@D)/wheels --python $(@D)/bin/python $(filter %.txt,$^)
	@rm -r $(@D)/wheels
	@touch $@

# What local emulation builds and installs from, without a package index: for this system, and for Lambda's.
.tools/wheels/.made: src/requirements.txt cli/requirements.txt .tools/uv/.made
	@echo "Making $(@D) …"
	@rm -rf $(@D)
	@$(DOWNLOAD) --dest $(@D) --requirement src/requirements.txt
	@$(DOWNLOAD) --dest $(@D) --requirement cli/requirements.txt
	@$(DOWNLOAD) --dest $(@D) --requirement src/requirements.txt --platform manylinux2014_$(PROCESSOR)
	@touch $@

examples/node/node_modules/.made: .tools/consumers/.made examples/node/package-lock.json
	@echo "Making $(@D) …"
	@PATH="$(CURDIR)/.tools/consumers/bin:$$PATH" npm ci --prefix examples/node --loglevel error --no-audit --no-fund --no-update-notifier >/dev/null
	@touch $@

.PHONY: lock
lock: .tools/uv/.made ## Compile the pinned lists anew from the .in files
	@for list in $(LISTS); do $(UV) pip compile --quiet --upgrade --universal --python-version 3.13 \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		$$list.in --output-file $$list.txt || exit 1; done

.PHONY: clean
clean: ## Remove environments, builds and caches
	@rm -rf .aws-sam .tools .venv examples/node/node_modules examples/lambda/.aws-sam .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
