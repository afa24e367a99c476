# Everything a contributor needs. Each target sets itself up in a fresh clone: it takes only make
# and Python 3.11 or newer, and makes the virtual environment .venv with pinned versions.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SETS ?= demo

.DEFAULT_GOAL := help
.PHONY: help demo test lint fix bench clean

help:
	@echo "make demo   photos of a beach to a 3D model on the map: demo/photos -> runs/demo"
	@echo "make test   all tests, two files at a time (ARGS goes to pytest: --runslow, or -n0 for one)"
	@echo "make lint   style, types and import rules"
	@echo "make fix    format, and repair what can be repaired"
	@echo "make bench  accuracy and speed of a run (SETS=\"demo ...\", see benchmarks/README.md)"

# uv installs quicker where it is there; pip does the same.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@if [ ! -x $(BIN)/python ]; then \
	  if uv --version >/dev/null 2>&1; then uv venv -q --python "$$(command -v $(PYTHON))" $(VENV); \
	  else $(PYTHON) -m venv $(VENV); fi; fi
endef

define install
	@echo "installing voxterra$(1) into $(VENV)"
	@if uv --version >/dev/null 2>&1; then \
	  uv pip install -q --python $(BIN)/python -c constraints.txt -e '.$(1)'; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.$(1)'; fi
	@touch $@
endef

# Before the rest, and by pip: it takes torch's CPU build where its index offers one, while uv would
# fetch gigabytes of CUDA libraries. Who has another build of this version keeps it.
define torch
	@echo "installing torch into $(VENV)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  uv pip install -q --python $(BIN)/python pip
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
endef

$(VENV)/.installed: pyproject.toml constraints.txt
	$(environment)
	$(call install,[viewer])

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(environment)
	$(torch)
	$(call install,[dev$(comma)viewer$(comma)voxels$(comma)gpu])
	@touch $(VENV)/.installed

comma := ,

demo: $(VENV)/.installed
	@$(BIN)/voxterra run demo/photos --out runs/demo --preset preview $(ARGS)

# One thread of torch's in each of the two processes: more of them wait for each other. Tests start
# the program again and again, which takes a third of the time where bytecode may be kept.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	@for set in $(SETS); do $(BIN)/python benchmarks/run_set.py $$set || exit 1; done
	$(BIN)/python benchmarks/report.py

clean:
	rm -rf $(VENV) build dist runs
