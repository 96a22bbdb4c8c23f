# make demo    select from a small labelled corpus, end to end, without a network
# make test    everything a change must pass: lint, types, tests
# make format  rewrite the code to the project's format
# make tools   build Prism, Beam's portable runner, into .tools (needs Go); without it the tests on it are skipped
# make clean   remove what was built and written, except .venv and .tools

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .tools/bin

.PHONY: demo test venv lint types format tools clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	@$(BIN)/python -m pipelines.demo

test: lint types
	@$(BIN)/python -m pytest

venv: $(STAMP)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

tools: $(TOOLS)/prism

# The version of the SDK; go install is quick where it is built already.
$(TOOLS)/prism: constraints.txt
	@if ! command -v go >/dev/null; then echo 'Go is needed to build Prism (https://go.dev/doc/install)' >&2; exit 1; fi
	@version=$$(sed -n 's/^apache-beam==//p' $<); echo "Building Prism $$version into $(TOOLS): some minutes the first time"; \
	GOBIN=$(CURDIR)/$(TOOLS) go install "github.com/apache/beam/sdks/v2/go/cmd/prism@v$$version"
	@touch $@

clean:
	@rm -rf build dist demo *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamp is there only while the installation is complete: without it the next run starts from an empty .venv,
# with it (pyproject.toml or constraints.txt changed) only the differences are installed.
$(STAMP): pyproject.toml constraints.txt
	@python=$$(for name in python3.11 python3 python; do \
	  "$$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$name" && break; \
	done); \
	if [ -z "$$python" ]; then echo 'Python 3.11 is needed, and none is on the PATH' >&2; exit 1; fi; \
	if [ ! -e $@ ]; then "$$python" -m venv --clear $(VENV); fi
	@rm -f $@
	@echo 'Installing the pinned dependencies into $(VENV): some minutes and 7 GB the first time'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $@
