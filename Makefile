# `make search` and `make test` are the two commands a newcomer needs; each prepares what it uses.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# Files of tests side by side, as many as there are cores; each file in one process, which shares its fixtures.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: search test test-slow test-cluster chaos fuzz dist check format backbones bench clean

search: $(VENV)/.installed
	test -d data/quickstart || $(BIN)/tune-cnn sample shapes data/quickstart
	$(BIN)/tune-cnn search spaces/quickstart.yaml

test: $(VENV)/.installed-test
	$(PYTEST)

test-slow: $(VENV)/.installed-test
	$(BIN)/pytest -m slow

# Clusters on this machine. `ray up` needs an SSH server (Debian: openssh-server, rsync); without, its tests are skipped.
test-cluster: $(VENV)/.installed-cluster
	$(BIN)/pytest -m cluster

# Kills, full disks, power cuts and damaged files by the hundred; what is printed holds the seed that brings it back.
# E.g. make chaos PARTS="kills nodes" KILLS=500 SEED=7
chaos: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos $(PARTS) $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS))

# Ten minutes for each reader of foreign files, or SECONDS.
fuzz: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos.fuzz $(TARGETS) $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

# This very version of tune-cnn in one file, which the cluster files copy to the machines.
dist: $(VENV)/.installed
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The table of backbones that lets a space file be checked without importing torch; remade when timm's pin changes.
backbones: $(VENV)/.installed-test
	$(BIN)/python -m tune_cnn.models.catalogue_builder
	$(BIN)/python -m tune_cnn.models.encoders_builder

# Some 25 minutes on two idle cores; what it measures and how: benchmarks/README.md.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.bench

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("tune-cnn needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-cluster: $(VENV)/.installed-test
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,cluster]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
