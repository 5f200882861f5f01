"""Train a voice: ``python train.py data=databaker precision=16-mixed`` (``--help`` explains every knob)."""

from unison.cli import run

if __name__ == "__main__":
    run("train")
