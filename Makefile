# make demo: train a voice from nothing and hear it.  make test: everything that is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := outputs/demo

.PHONY: setup demo test test-slow lint bench
.DEFAULT_GOAL := setup

setup: $(STAMP)

# an environment without pip is one whose making was interrupted
$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV): PyTorch is several GB, this takes minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[demo,bert,dev]'
	@touch $@

# trained once; an interrupted training goes on
demo: $(STAMP)
	@test -e $(DEMO)/.trained || { \
		if ls $(DEMO)/checkpoints/*.ckpt >/dev/null 2>&1; \
		then $(BIN)/python train.py resume=$(DEMO); \
		else $(BIN)/python train.py experiment=demo; fi && touch $(DEMO)/.trained; }
	$(BIN)/unison evaluate ckpt=$(DEMO)
	$(BIN)/python infer.py ckpt=$(DEMO) speaker=amy text="The old man found a gold ring in the garden." \
		out=$(DEMO)/english.wav play=true
	$(BIN)/python infer.py ckpt=$(DEMO) speaker=mei text=今天的风很大。 out=$(DEMO)/mandarin.wav play=true

test: $(STAMP)
	$(BIN)/python -m pytest

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/unison bench
