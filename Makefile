# make demo: train a voice from nothing and hear it.  make test: everything that is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-slow lint bench clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,bert,dev]'
	@touch $@

demo: $(STAMP)
	@test -e outputs/demo/checkpoints || $(BIN)/python train.py experiment=demo
	$(BIN)/unison evaluate ckpt=outputs/demo
	$(BIN)/python infer.py ckpt=outputs/demo speaker=amy text="The old man found a gold ring in the garden." out=outputs/demo/english.wav play=true
	$(BIN)/python infer.py ckpt=outputs/demo speaker=mei text=我们在河边看见一只小鸟。 out=outputs/demo/mandarin.wav play=true

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

clean:
	rm -rf $(VENV)
