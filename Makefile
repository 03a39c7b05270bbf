# Set-up is part of every target: on a fresh machine `make demo` or `make test` is all it takes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests by files on all cores, of which each process takes one; in the order of folders, that ends
# with short ones.
PARALLEL ?= --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all test-benchmarks test-onnx test-browser fuzz coverage lint types docs dist clean

demo: $(READY)  ## sharpen the sample: a COG, a STAC item, a quality card and a picture in demo/
	mkdir -p demo
	$(BIN)/decametre info sample/T33UUB/item.json
	$(BIN)/decametre sharpen sample/T33UUB/item.json demo/T33UUB.tif --quicklook --overwrite
	@echo "$(BIN)/decametre view demo/T33UUB.tif shows before and after; QGIS opens the file, too."

test: $(READY)  ## all tests but the slow ones; no network, no GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow and not benchmark and not onnx"

test-all: $(READY)  ## all tests of the package, as CI runs them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not benchmark and not onnx"

test-benchmarks: $(READY)  ## small runs of the benchmarks for developers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m benchmark tests/benchmarks

test-onnx: $(READY)  ## exports of all architectures and shipped models, compared with torch
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m onnx tests/superres/export

# Debian and Ubuntu. Needs network and root rights once, for the packages.
test-browser: $(READY)  ## the viewer in a headless browser, which it installs; screenshots in build/screenshots
	command -v chromedriver >/dev/null || (apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium chromium-driver)
	SCREENSHOTS=build/screenshots OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/viewer -m browser

fuzz: $(READY)  ## 10,000 mutated inputs of everything that is read, or of TARGETS; takes hours
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks fuzz $(TARGETS)

# Child processes are measured, too: `patch` in pyproject.toml.
coverage: $(READY)  ## coverage of TESTS in htmlcov/; CONTRIBUTING.md says how to read it
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest $(PARALLEL) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet --skip-covered
	$(BIN)/coverage report --skip-covered

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY)  ## the documentation in site/; broken links fail; no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

dist: $(READY)  ## wheel and sdist in dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

# Needs uv. Direct dependencies only: what they require is the newest that fits.
constraints-oldest.txt: pyproject.toml  ## the oldest dependencies that the bounds allow
	uv pip compile --quiet --no-deps --resolution lowest-direct --extra all --no-header --no-annotate \
		--output-file $@ $<

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build dist site htmlcov .coverage*
