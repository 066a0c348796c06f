# `make demo` and `make test` set up all they need on first use: a .venv in this folder, and the Kafka jars in the user's cache folder.
.DEFAULT_GOAL := help
.PHONY: help demo test test-cluster lint types stale format compile golden lock kafka-lock notebooks images benchmark bench clean
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JARS := .venv/.jars
PEERS := .venv-peers/.ready
KAFKA := fedstream/local/kafka_files

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fedstream needs Python 3.11 or later; install it, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "python3-venv is missing; install it (Debian: apt install python3-venv)"; exit 1; }
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(JARS): $(READY) $(KAFKA)/jars.sha256
	@$(BIN)/fedstream services fetch
	@touch $@

demo: $(JARS)  ## Stream three clients' data through Kafka, train, publish, verify, report
	@$(BIN)/fedstream demo

test: $(JARS)  ## Run the tests
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test-cluster: $(JARS)  ## Build the images, push them to CLUSTER_REGISTRY, test on the cluster of the current kubectl context
	@tests/cluster/images/build
	@$(BIN)/pytest tests/cluster

lint: $(READY)  ## Check style, and who imports whom
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache

types: $(READY)  ## Check types
	@$(BIN)/mypy

stale: $(READY)  ## Check that what is made of the form, the pipelines and the strategies is current
	@$(BIN)/python -m fedstream.components.form --check && $(BIN)/python -m fedstream.pipelines.compile --check
	@$(BIN)/python -m fedstream.aggregation.page | diff docs/strategies.md - || { echo "docs/strategies.md is stale; run \`make compile\`"; exit 1; }

format: $(READY)  ## Format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

compile: $(READY)  ## Compile the pipelines to YAML, and write what is made of the form and the strategies
	@$(BIN)/python -m fedstream.components.form && $(BIN)/python -m fedstream.pipelines.compile
	@$(BIN)/python -m fedstream.aggregation.page > docs/strategies.md

golden: $(READY)  ## Store what the overlays of kustomize/ render
	@PYTHONPATH=tests $(BIN)/python -m support.golden

lock: $(READY)  ## Pin the images' packages by hash, after a change of the dependencies
	@images/lock

kafka-lock:  ## Lock the embedded Kafka's jars anew, after a change of its pom.xml; needs Maven
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && mvn -B -q --strict-checksums -f $(KAFKA)/pom.xml dependency:copy-dependencies \
	  -DincludeScope=runtime -Dmdep.useRepositoryLayout=true -DoutputDirectory="$$folder" && \
	  (cd "$$folder" && find * -name '*.jar' | LC_ALL=C sort | xargs sha256sum) > $(KAFKA)/jars.sha256

images:  ## Build the images and push them to REGISTRY (images/README.md)
	@images/build $(IMAGES)

notebooks: $(JARS)  ## Run the notebooks and store their outputs
	@$(BIN)/python notebooks/execute.py

benchmark: $(JARS)  ## Measure, and print tables
	@$(BIN)/python -m benchmarks

bench: $(READY) $(PEERS)  ## Measure aggregation and simulations beside Flower, NVFlare and pfl, which get an environment of their own
	@$(BIN)/python -m benchmarks.aggregate $(SIZES)
	@$(BIN)/python -m benchmarks.simulate --peers .venv-peers/bin/python

$(PEERS):
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/pip install --quiet 'flwr[simulation]==1.41.*' 'nvflare==2.9.*' 'pfl==0.6.*' && touch $@ || echo "the peers cannot be installed; the table says so"

clean:  ## Remove the environments
	@rm -rf .venv .venv-peers
