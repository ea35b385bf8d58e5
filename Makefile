# What a developer runs, and all that CI runs. Needs Python 3.11 (or 3.12) and make; every target does its own set-up.
# With a C compiler, the hot loops are compiled; without, they run in Python.
#
# Two environments, on purpose: TensorFlow and Keras import JAX, SciPy, scikit-learn and matplotlib wherever they find them,
# so the service starts much faster from an environment that holds only what it serves with.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

TEST := .venv
SERVE := .venv-serve
TORCH := .torch
ROOMS := models training service
CONFIG ?= training/configs/default.toml
OUT ?= models/saved/mine
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet $(LOCK_FLAGS)

# Makes the environment $(1) from the lock $(2), unless its stamp is newer than the lock. Byte code is compiled here and now:
# without it every start would compile TensorFlow anew wherever PYTHONDONTWRITEBYTECODE is set.
define environment
	@python=; for candidate in $(PYTHON) python3.11 python3.12 python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Expected Python 3.11 or 3.12 on the PATH. Found: $$(python3 --version 2>/dev/null || echo no python3 at all)." >&2; \
	  echo "Install Python 3.11, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	echo "Making $(1) from $(2) with $$("$$python" --version), once; this downloads several hundred megabytes." >&2; \
	"$$python" -m venv $(1) && \
	$(1)/bin/python -m pip --disable-pip-version-check install --quiet --no-input --compile --require-hashes -r $(2) && \
	touch $(1)/.installed
endef

.PHONY: help serve test test-torch check sanitize format train zoo bench test-containers lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(TEST)/.installed: requirements/test.txt
	$(call environment,$(TEST),$<)

$(SERVE)/.installed: requirements/serve.txt
	$(call environment,$(SERVE),$<)

serve: $(SERVE)/.installed ## serve the bundles in models/saved on http://127.0.0.1:8000 (HEED_* settings apply)
	@$(SERVE)/bin/python -m compileall -q models service
	@$(SERVE)/bin/python -m models.native
	@exec $(SERVE)/bin/python -m service serve

# A file's tests stay together, since they share what took long to set up; each process holds a TensorFlow of its own.
test: $(TEST)/.installed ## run the tests; narrow them with ARGS="-k masking"
	@$(TEST)/bin/python -m compileall -q $(ROOMS)
	@$(TEST)/bin/python -m models.native
	@$(TEST)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

# PyTorch lies apart from the environment, on the path of the processes that run on it alone: it is large, and Keras imports it
# wherever it is found.
$(TORCH)/.installed: requirements/torch.txt $(TEST)/.installed
	@rm -rf $(TORCH)
	@echo "Making $(TORCH) from $<, once; this downloads about 200 megabytes." >&2
	@$(TEST)/bin/python -m pip --disable-pip-version-check install --quiet --no-input --no-deps --require-hashes --target $(TORCH) -r $< || { \
	  echo "Expected pip to find the CPU build of PyTorch for Python 3.11 (on Linux x86, a wheel of version +cpu)." >&2; \
	  echo "Put the wheel into a folder and name the folder: PIP_FIND_LINKS=/path/to/folder make $(MAKECMDGOALS)" >&2; exit 1; }
	@touch $@

test-torch: $(TORCH)/.installed ## run the layers and classifiers on PyTorch
	@$(TEST)/bin/python -m pytest -m torch tests/models/test_backends.py $(ARGS)

check: $(TEST)/.installed ## lint, formatting and types
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

sanitize: $(TEST)/.installed ## test the kernels in C with the address and undefined-behaviour sanitizers (gcc)
	@$(TEST)/bin/python -m tests.models.native.sanitize $(ARGS)

format: $(TEST)/.installed ## mend formatting and what the linter can mend by itself
	$(TEST)/bin/ruff check --fix .
	$(TEST)/bin/ruff format .

train: $(TEST)/.installed ## train a bundle: make train DATA=reviews.csv OUT=models/saved/mine (IMDB without DATA; RESUME=1, RESTART=1, REPLACE=1, ARGS="--seed 2")
	@exec $(TEST)/bin/python -m training train $(CONFIG) $(if $(DATA),--data $(DATA)) --out $(OUT) \
	  $(if $(RESUME),--resume) $(if $(RESTART),--restart) $(if $(REPLACE),--replace) $(ARGS)

zoo: $(TEST)/.installed ## train and compare every mechanism, update docs/mechanisms.md: make zoo DATA=aclImdb_v1.tar.gz
	@$(TEST)/bin/python -m benchmarks.zoo --data $(or $(DATA),$(error name the IMDB archive: make zoo DATA=aclImdb_v1.tar.gz)) $(ARGS)

bench: $(TEST)/.installed $(SERVE)/.installed ## measure serving, scoring and training: make bench DATA=aclImdb_v1.tar.gz ARGS="--parts single"
	@$(SERVE)/bin/python -m compileall -q models service
	@$(SERVE)/bin/python -m models.native
	@missed=0; data=$(or $(DATA),$(error name the IMDB archive: make bench DATA=aclImdb_v1.tar.gz)); \
	$(TEST)/bin/python -m benchmarks.serving --data $$data $(ARGS) || missed=1; \
	$(TEST)/bin/python -m benchmarks.score --data $$data || missed=1; \
	$(TEST)/bin/python -m benchmarks.train --data $$data --parts quick_bilstm keras-bilstm || missed=1; \
	exit $$missed

test-containers: $(TEST)/.installed ## build the image and try it for real; needs a Docker engine
	@$(TEST)/bin/python -m pytest -m containers tests/containers $(ARGS)

# Not requirements/torch.txt, which is kept by hand: uv would lock the libraries of a GPU along with PyTorch.
lock: ## write requirements/*.txt anew from pyproject.toml with uv (LOCK_FLAGS=--upgrade for newer versions)
	@command -v uv >/dev/null || { echo "Expected uv on the PATH, found none. Install it: python3 -m pip install uv" >&2; exit 1; }
	$(LOCK) --extra cpu --extra parquet --output-file requirements/serve.txt
	$(LOCK) --extra onnx --output-file requirements/onnx.txt
	$(LOCK) --extra cpu --extra train --output-file requirements/train.txt
	$(LOCK) --extra gpu --extra train --output-file requirements/gpu.txt
	$(LOCK) --extra test --output-file requirements/test.txt

clean: ## remove the environments and everything tools left behind
	rm -rf $(TEST) $(SERVE) $(TORCH) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis
	rm -f models/native/*.so
	find $(ROOMS) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
