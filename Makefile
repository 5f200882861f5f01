# make demo: train a voice from nothing and hear it.  make test: everything that is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := outputs/demo

.PHONY: setup demo metavoice test test-slow test-gpu lint bench
.DEFAULT_GOAL := setup

setup: $(STAMP)

# an environment without pip is one whose making was interrupted
$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV): PyTorch is several GB, this takes minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[demo,bert,lora,quantization,dev]'
	@touch $@

# trained once; an interrupted training goes on: $(call trained,outputs/<name>,<overrides>)
define trained
@test -e $(1)/.trained || { \
	if ls $(1)/checkpoints/*.ckpt >/dev/null 2>&1; \
	then $(BIN)/python train.py resume=$(1); \
	else $(BIN)/python train.py $(2); fi && touch $(1)/.trained; }
endef

demo: $(STAMP)
	$(call trained,$(DEMO),experiment=demo)
	$(BIN)/unison evaluate ckpt=$(DEMO)
	$(BIN)/python infer.py ckpt=$(DEMO) speaker=amy text="The old man found a gold ring in the garden." \
		out=$(DEMO)/english.wav play=true
	$(BIN)/python infer.py ckpt=$(DEMO) speaker=mei text=今天的风很大。 out=$(DEMO)/mandarin.wav play=true

# codec, speaker encoder and both stages, one after the other, of the recordings in FSDD
metavoice: $(STAMP)
	@test -d "$(FSDD)" || { echo "where are the recordings? make metavoice FSDD=<folder with 0_george_0.wav …>"; exit 2; }
	$(call trained,outputs/fsdd-codec,experiment=fsdd_codec data.raw="$(FSDD)")
	$(call trained,outputs/fsdd-speaker-encoder,experiment=fsdd_speaker_encoder data.raw="$(FSDD)")
	$(call trained,outputs/fsdd-first-stage,experiment=fsdd_first_stage data.raw="$(FSDD)")
	$(call trained,outputs/fsdd-metavoice,experiment=fsdd_metavoice data.raw="$(FSDD)")
	$(BIN)/python infer.py ckpt=outputs/fsdd-metavoice speaker=theo text=seven out=outputs/fsdd-metavoice/seven.wav play=true

# a process a core, of four at most: each makes its own small corpora and voices, and takes tests that stand together
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not gpu"

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu -n auto --maxprocesses 8

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/unison bench
