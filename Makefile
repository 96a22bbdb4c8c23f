# make demo      select from a small labelled corpus, end to end, without a network
# make test      everything a change must pass: lint, types, tests
# make suite     the tests alone
# make test-versions  the tests in each Python of VERSIONS that is installed, each in an environment of its own
# make format    rewrite the code to the project's format
# make tools     install the servers that some tests need (Go is needed; without them those tests are skipped)
# make template  make docs/flags.md and the metadata of the Dataflow templates, and check what can be checked without a cloud
# make docs      make the API reference, build/reference/index.html
# make clean     remove what was built and written, except .venv* and .tools

# The version of Python in $(VENV), and all that the tests run in.
VERSION := 3.11
VERSIONS := 3.11 3.12 3.13
VENV := .venv$(if $(filter-out 3.11,$(VERSION)),-$(VERSION))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .tools/bin
NOTEBOOK := .tools/notebook-$(VERSION)

# Files of tests are given out as tests/conftest.py orders them.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder
PYENV_ROOT ?= $(HOME)/.pyenv
# Prints a command that starts Python $(1), on the PATH or among pyenv's; fails if there is none.
find_python = for name in python$(1) python3 python "$(PYENV_ROOT)"/versions/$(1).*/bin/python; do \
	  "$$name" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' $(1) 2>/dev/null && \
	  echo "$$name" && exit; done; exit 1

.PHONY: demo test test-versions suite venv lint types format tools template docs clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	@$(BIN)/python -m pipelines.demo

# The types are checked beside the tests: no core is idle.
test: lint
	@$(MAKE) --no-print-directory --jobs types suite

test-versions:
	@for version in $(VERSIONS); do \
	  if ($(call find_python,$$version)) >/dev/null; then \
	    echo "Python $$version"; $(MAKE) --no-print-directory suite VERSION=$$version || exit 1; \
	  else echo "Python $$version: skipped, since it is not installed"; fi; \
	done

suite: $(STAMP) $(NOTEBOOK)
	@$(PYTEST)

# Apart from $(VENV), for Beam imports pandas in every process of an environment that has it.
$(NOTEBOOK): $(STAMP) Makefile
	@rm -rf $@ $@.incomplete
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --target $@.incomplete pandas nbclient ipykernel docstring-parser jsonschema
	@mv $@.incomplete $@

venv: $(STAMP)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

# Servers that some tests need; go install is quick where they are built already.
tools: $(TOOLS)/prism $(TOOLS)/fake-gcs-server

# The version of the SDK.
$(TOOLS)/prism: constraints.txt
	@if ! command -v go >/dev/null; then echo 'Go is needed to build Prism (https://go.dev/doc/install)' >&2; exit 1; fi
	@version=$$(sed -n 's/^apache-beam==//p' $<); echo "Building Prism $$version into $(TOOLS): some minutes the first time"; \
	GOBIN=$(CURDIR)/$(TOOLS) go install "github.com/apache/beam/sdks/v2/go/cmd/prism@v$$version"
	@touch $@

$(TOOLS)/fake-gcs-server:
	@if ! command -v go >/dev/null; then echo 'Go is needed to build $@ (https://go.dev/doc/install)' >&2; exit 1; fi
	@GOBIN=$(CURDIR)/$(TOOLS) go install github.com/fsouza/fake-gcs-server@v1.56.1

template: $(STAMP)
	@$(BIN)/python -m hir_transforms.settings.template_metadata templates
	@$(BIN)/python -m hir_transforms.settings.flags_page docs/flags.md
	@$(BIN)/hadolint templates/Dockerfile
	@$(BIN)/python -m pytest --quiet tests/test_templates.py

docs: $(STAMP)
	@$(BIN)/python docs/make_reference.py build/reference

clean:
	@rm -rf build dist demo *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# The stamp is there only while the installation is complete: without it the next run starts from an empty .venv,
# with it (pyproject.toml or constraints.txt changed) only the differences are installed.
$(STAMP): pyproject.toml constraints.txt
	@python=$$($(call find_python,$(VERSION))); \
	if [ -z "$$python" ]; then echo 'Python $(VERSION) is needed, and there is none on the PATH or in pyenv' >&2; exit 1; fi; \
	if [ ! -e $@ ]; then "$$python" -m venv --clear $(VENV); fi
	@rm -f $@
	@echo 'Installing the pinned dependencies into $(VENV): some minutes and 7 GB the first time'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
