# make demo      select from a small labelled corpus, end to end, without a network
# make test      everything a change must pass: lint, types, tests
# make format    rewrite the code to the project's format
# make tools     install the servers that some tests need (Go is needed; without them those tests are skipped)
# make template  make docs/flags.md and the metadata of the Dataflow templates, and check what can be checked without a cloud
# make clean     remove what was built and written, except .venv and .tools

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .tools/bin

.PHONY: demo test venv lint types format tools template clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	@$(BIN)/python -m pipelines.demo

test: lint types
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

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
