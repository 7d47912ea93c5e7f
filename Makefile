# `make demo` and `make test` work on a machine that has Python 3.11, 3.12 or 3.13 and make; everything else goes into .venv.
# Another Python: make setup PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.setup-is-done

.DEFAULT_GOAL := help
.PHONY: help setup demo docs test check bench chaos assets clean

help: ## list what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(STAMP) ## make .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo 'make setup: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one that is: make setup PYTHON=python3.12' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing into .venv: about 1.4 GB, a few minutes …'
	@# Dependency groups need pip 25.1 or later.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[datatrove,fasttext]' --group dev
	@touch $@

# The summary is what the build writes last. Built only if absent: a demo that changes under a finished run would start it anew.
demo/demo.json: | $(STAMP)
	@echo 'Making the demo from what is installed here …'
	@$(BIN)/python -m pipelines.demo build demo

demo: demo/demo.json ## make the demo's input, run configs/quickstart.yaml on it, verify the result
	@$(BIN)/shardmill run configs/quickstart.yaml
	@$(BIN)/shardmill verify demo/output
	@printf '%s\n' '' 'What to try next ($(BIN) is not on your PATH):' \
	  '  $(BIN)/shardmill inspect demo/output --dropped          documents that were dropped, and for what' \
	  '  $(BIN)/shardmill dry-run configs/quickstart.yaml        what the pipeline does, told from a sample' \
	  '  $(BIN)/shardmill run configs/quickstart.yaml            it is finished, and says so' \
	  '  $(BIN)/shardmill plan configs/quickstart.yaml --set operators.c4_quality.min_num_sentences=3' \
	  '                                                           what a changed setting would run again; `run` does it' \
	  '  $(BIN)/python -c "from datasets import load_dataset; print(load_dataset(\"demo/output\", split=\"train\"))"' \
	  '  $(BIN)/shardmill init mine                              a pipeline of your own, to be filled in' \
	  '  README.md tells what demo/output holds.'

test: $(STAMP) ## all tests but the random kills
	@$(BIN)/python -m pytest -m 'not chaos' --numprocesses=auto --maxprocesses=4 --dist=loadgroup

docs: $(STAMP) ## make what is made from the code: docs/operators.md, docs/reference.md, configs/pipeline.schema.json
	@$(BIN)/python -m pipelines.reference > docs/operators.md
	@$(BIN)/python -m pipelines.reference_keys > docs/reference.md
	@$(BIN)/shardmill schema --output configs/pipeline.schema.json > /dev/null

check: $(STAMP) ## formatting, lint, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## every benchmark, small; the results go to benchmarks/results
	@set -e; for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file; done

chaos: $(STAMP) ## 200 random kills, 15 minutes; the log goes to docs/chaos.md
	@SHARDMILL_CHAOS_LOG=docs/chaos.md $(BIN)/python -m pytest -m chaos

assets: ## build anew what the report draws its charts with, from npm (node, the network)
	@pipelines/report_assets/build.sh

clean: ## remove the demo and the caches; .venv stays
	rm -rf demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
