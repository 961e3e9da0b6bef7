# Everything happens in .venv.  Needs Python >= 3.11 with headers and venv, a C compiler, make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the installed package is built from; Python files need no rebuild (editable install).
SOURCES := pyproject.toml setup.py $(shell find csrc -name '*.[ch]') \
	$(wildcard src/farthing/*.pyx src/farthing/*.pxi src/farthing/*.h)

.PHONY: demo test test-isa lint wheel clean

demo: $(VENV)/.demo
	$(BIN)/farthing demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

# Every instruction set on emulated CPUs: installs compilers and emulators, by apt and pip.
test-isa: $(VENV)/.test
	bash tests/isa/install.sh
	$(BIN)/python -m pip install --quiet --group isa
	FARTHING_ISA=full $(BIN)/python -m pytest tests/test_isa.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

wheel:
	PYTHON=$(PYTHON) bash wheels/build.sh dist

clean:
	rm -rf $(VENV) build dist src/*.egg-info src/farthing/*.so src/farthing/lib \
		src/farthing/include .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# pip's dependency groups came with 25.1.
$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.demo: $(VENV)/.pip $(SOURCES)
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --group test
	touch $@

$(VENV)/.lint: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --group lint
	touch $@
