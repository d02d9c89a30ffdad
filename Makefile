# The whole vocabulary of this project. `make` alone prints it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
READY := .venv/.ready
SOURCES := detco_core control worker server detco_client

.PHONY: help setup demo test test-fast check format serve work migrate bench lock clean

help: ## print these words
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml scripts/bootstrap.sh
	@./scripts/bootstrap.sh

setup: $(READY) ## make .venv with everything a developer needs

demo: $(READY) ## the main job on real photos: pretrain, evaluate, export, serve; pictures in demo/ (PHOTOS=folder for yours)
	@$(PY) -m examples.demo

test: $(READY) ## every test that needs no GPU
	@$(PY) -m pytest -m "not gpu and not slow" -n 2 --dist loadfile -q
	@$(PY) -m pytest -m "slow and not gpu" -n 3 --dist loadfile --no-loadscope-reorder -q

test-fast: $(READY) ## the tests that start no processes and no servers and train nothing, in under two minutes
	@$(PY) -m pytest -m "not gpu and not slow" -n 2 --dist loadfile -q

check: $(READY) ## ruff, mypy strict, import contracts, sizes
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports
	@$(PY) scripts/sizes.py

format: $(READY) ## let ruff lay out the code and mend what it can
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

serve: $(READY) ## the embedded service, all in one: http://127.0.0.1:8000 (data in ~/.detco)
	@.venv/bin/detco up

work: $(READY) ## one more worker for the service the environment names
	@.venv/bin/detco work

migrate: $(READY) ## bring the database the environment names to the newest schema
	@.venv/bin/detco migrate

bench: $(READY) ## the benchmarks that need no GPU; results under benchmarks/results/
	@$(PY) -m benchmarks

lock: $(READY) ## resolve pyproject.toml again into requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --no-emit-index-url \
		--no-annotate --no-header pyproject.toml -o requirements.lock

clean: ## remove what the build and the demo made (the .venv too)
	@rm -rf .venv .venv-kserve build *.egg-info demo/ .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
