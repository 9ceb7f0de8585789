# Installs everything into .venv. PYTHON chooses the interpreter: make setup PYTHON=python3.12
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: setup demo recognition test lint format bench docs docs-options docs-reference clean

setup: .venv/installed

# Starts DeepSpeed once, so that it compiles its C++ extension now and not in a run.
.venv/installed: setup.cfg
	$(PYTHON) -m venv .venv
	$(PY) -m pip install -q torch torchvision
	$(PY) -m pip install -q -e '.[all]'
	$(PY) -c 'from diffmae_video.runtime.processes import start_process; start_process()'
	touch $@

demo: setup
	$(PY) tools/demo.py

# SEEDS=1 QUICK=1 makes a short run. PICTURES=folder adds pictures of CIFAR-10's size, in train/ and test/.
SEEDS ?= 3
recognition: setup
	$(PY) tools/recognition.py --seeds $(SEEDS) $(if $(QUICK),--quick) $(if $(PICTURES),--pictures $(PICTURES))

# Two processes of one thread each: they keep two cores busy and do not crowd a larger machine. Files are given out
# in the order of tests/conftest.py. At the end, pytest lists the skipped tests and why each was skipped.
test: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: setup
	$(PY) tools/benchmark.py train
	$(PY) tools/benchmark.py sample
	$(PY) tools/benchmark.py data

# Builds the site into outputs/site; a broken link is an error. MkDocs announces its successor in a banner.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build -q

docs-reference: docs-options
	$(PY) tools/write_commands.py

# Writes docs/options.md from diffmae_video/options.py.
docs-options: setup
	$(PY) tools/write_options.py

clean:
	rm -rf .venv outputs
