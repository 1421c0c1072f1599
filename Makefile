# Every target does its own set-up in $(VENV), once; all it needs is make and Python 3.11 to 3.14.
VENV ?= .venv
# PYTHON=python3.12 names another Python than the best one found; the venv is made anew when it changes.
PYTHON ?=
FUZZ_SECONDS ?= 20
# Tests wait for others half of their time
TEST_JOBS ?= $(shell echo $$(($$(nproc) * 3 / 2)))
# WITH=kerberos adds an extra that is compiled (libkrb5-dev, gcc); without it the tests of Kerberos are skipped.
WITH ?=
COMPOSE ?= docker compose
# The profiles need compose v2; docker-compose 1.29 runs the rest: COMPOSE_TESTS=tests/compose/test_stack.py
COMPOSE_TESTS ?= tests/compose
BIN := $(VENV)/bin
# A user's settings for pip and Python must not reach into the venv.
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint fuzz lab wheel-test compose clean again

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

demo: $(VENV)/.ready-demo ## server, proxy and client on loopback: the whole path in five seconds
	@$(BIN)/relay demo

test: $(VENV)/.ready-test ## every test but the containers', with the coverage gate
	$(BIN)/python -m pytest -n $(TEST_JOBS) --cov --cov-report=term

lint: $(VENV)/.ready-lint ## ruff, and mypy strict
	$(BIN)/ruff check .
	$(BIN)/mypy

fuzz: $(VENV)/.ready-fuzz ## each fuzz target for FUZZ_SECONDS=20
	tools/fuzz $(BIN)/python $(FUZZ_SECONDS)

# HEALTHY_RUNS=20 is the long form. With CI=true a scenario that this machine cannot play is a failure.
HEALTHY_RUNS ?= 2
JOBS ?= 8
ACCURACY ?= docs/accuracy.md
lab: $(VENV)/.ready-lab ## every broken network (root): the confusion matrix; makes docs/accuracy.md
	@mkdir -p $(dir $(ACCURACY))
	$(BIN)/relay lab run --all --jobs $(JOBS) --healthy-runs $(HEALTHY_RUNS) --accuracy $(ACCURACY) \
		$(if $(filter true,$(CI)),--complete)

wheel-test: $(VENV)/.ready-wheel ## build sdist and wheel, and test the wheel without the sources (WHEEL_TESTS=tests/parts)
	WITH="$(WITH)" tools/wheel-test $(BIN)/python $(WHEEL_TESTS)

compose: $(VENV)/.ready-test ## the stack of docker-compose.yml, for real (COMPOSE="docker compose")
	COMPOSE="$(COMPOSE)" $(BIN)/python -m pytest -m compose $(COMPOSE_TESTS)

clean: ## remove all that was made here
	rm -rf $(VENV) $(PEERS) build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# What each kind of work installs beside the package itself.
EXTRAS_demo :=
EXTRAS_test := [fast,test$(WITH:%=,%)]
EXTRAS_lint := [fast,lint]
EXTRAS_lab := [fast,lab]
EXTRAS_fuzz := [fuzz]
EXTRAS_wheel := [wheel]

$(VENV)/.ready-%: $(VENV)/.made pyproject.toml
	@echo "make: installing what 'make $*' needs into $(VENV)"
	@$(BIN)/python -m pip install -qq --editable '.$(EXTRAS_$*)'
	@touch $@

$(VENV)/.made:
	@python=$$(tools/find-python "$(PYTHON)") || exit 1; \
	echo "make: $(VENV) with $$python"; \
	"$$python" -m venv --clear $(VENV) && echo "$(PYTHON)" > $@

# A venv whose Python has gone, or that was made with another PYTHON, is made again.
ifneq ($(wildcard $(VENV)/.made),)
ifneq ($(shell $(BIN)/python -c 'print("alive")' 2>/dev/null)/$(or $(PYTHON),$(shell cat $(VENV)/.made)),alive/$(shell cat $(VENV)/.made))
$(VENV)/.made: again
endif
endif

.PHONY: bench bench-quick
EXTRAS_bench := [fast,bench]

bench: $(VENV)/.ready-bench ## compare with real proxies, in less than ten minutes; makes docs/performance.md
	$(BIN)/python -m benchmarks --write-document --command 'make $@'

bench-quick: $(VENV)/.ready-bench ## our CPU as a ratio to squid's, in less than a minute
	$(BIN)/python -m benchmarks --quick --command 'make $@'

.PHONY: peers hostile
PEERS := .venv-peers
HOSTILE_SECONDS ?= 180

# They pin many versions, so not beside our own.
peers: $(PEERS)/.ready ## mitmproxy and proxy.py from PyPI, which personas are compared with
$(PEERS)/.ready: pyproject.toml $(VENV)/.made
	$(BIN)/python -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install -qq 'mitmproxy>=11,<11.1' 'proxy.py>=2.4.10,<2.5'
	@touch $@

hostile: $(VENV)/.ready-test ## thousands of hostile clients for HOSTILE_SECONDS=180, and what they do to the proxy
	HOSTILE_SECONDS=$(HOSTILE_SECONDS) $(BIN)/python -m pytest -q -n 0 tests/hostile
