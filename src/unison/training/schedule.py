"""Everything that depends on the step alone: learning rate, loss weights that set in, random numbers."""

from __future__ import annotations

import math

from unison.training.config import LossConfig, StageConfig


def learning_rate(stage: StageConfig, step: int) -> float:
    """Linear warm-up, then a cosine from the peak to ``final_lr`` of it at the stage's last step.

    Args:
        stage: the stage's settings.
        step: steps of the stage done before this one.
    """
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(stage.steps - stage.warmup_steps, 1)
    cosine = (1 + math.cos(math.pi * min(done, 1.0))) / 2
    return stage.learning_rate * (stage.final_lr + (1 - stage.final_lr) * cosine)


def binarization_weight(losses: LossConfig, step: int) -> float:
    """The binarisation loss's weight at a step of the run: 0, then a linear rise, then its full weight."""
    since = step - losses.binarization_start
    if since < 0:
        return 0.0
    return losses.binarization * min((since + 1) / max(losses.binarization_warmup, 1), 1.0)


def step_seed(seed: int, stage: int, batch: int) -> int:
    """Seed of everything random in one batch, so that a resumed run draws what an uninterrupted one would have."""
    return (seed * 1_000_003 + stage) * 1_000_003 + batch & 0x7FFF_FFFF_FFFF_FFFF
