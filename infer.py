"""Speak: ``python infer.py ckpt=outputs/demo text="Hello, world"`` (``--help`` explains every knob)."""

from unison.cli import run

if __name__ == "__main__":
    run("infer")
