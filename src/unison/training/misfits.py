"""Why another run's weights would not fit a run, and what to do."""

from __future__ import annotations

from pathlib import Path

from unison.config.train import TrainConfig
from unison.contract.checkpoint import DISCRIMINATOR_PREFIX, VOICE_PREFIX
from unison.contract.compare import incompatibilities, told
from unison.contract.contract import Contract
from unison.precision import PrecisionPolicy
from unison.training.moments import ADAMS, Moments


def kind_problems(base: Contract, ours: Contract) -> list[str]:
    """Whether a base holds another kind of model than the run's."""
    if (base.kind, base.family) == (ours.kind, ours.family):
        return []
    there, here = (f"{c.content} of the {c.family} family" for c in (base, ours))
    return [f"holds {there}, and this run trains {here}: nothing of it fits"]


def untrained(base: Contract) -> list[str]:
    """Whether a base's vocoder has learnt nothing that another run could take."""
    if base.trained.get("vocoder", 0) + base.trained.get("joint", 0):
        return []
    return ["its vocoder has learnt nothing; give a run that trained one (trainer=vocoder, joint or staged)"]


def optimizer_problems(config: TrainConfig, base: Contract, moments: Moments) -> list[str]:
    """Why the run's optimizers can't go on with the base's moments."""
    if not moments:
        return [
            "init_optimizers=true: the base holds no optimizers' states (it is exported, extended, converted without"
            " discriminator=do_…, or from before they named their parameters); give a run folder, or leave it out"
        ]
    problems = []
    for side, prefix in (("generator", VOICE_PREFIX), ("discriminator", DISCRIMINATOR_PREFIX)):
        there = base.tree().optim[side]["_target_"]
        here = getattr(config.optim, side)._target_
        if any(name.startswith(prefix) for name in moments) and (there != here or here not in ADAMS):
            problems.append(
                f"init_optimizers=true: the base's {side} learnt with {there}, this run's would with {here}; moments"
                f" are carried on by the same optimizer, one of {', '.join(ADAMS)}: optim.{side}._target_={there}"
            )
    return problems


def style_problems(base: Contract, ours: Contract, encoder: Path | None) -> list[str]:
    """Why the run's style is not the one that the base was trained with, and what to do."""
    differences = incompatibilities(base, ours, ("style",))
    there, here = (str(contract.style.get("name", "none")) for contract in (base, ours))
    if not differences:
        return []
    if there == "bert" and "weights_digest" not in base.style:
        return [
            "style: the base was converted without its encoder of prompts, and no other will do: convert it again with"
            " style=… style_bert=…, and train with style=bert and the style.path that it then has"
        ]
    path = f" style.path={encoder or base.style.get('path', '…')}" if there == "bert" else ""
    if there != here:
        kinds = {
            "none": "no style",
            "labels": "tables of style labels",
            "bert": "a frozen encoder of prompts",
            "prompt": "a style encoder",
        }
        has, wanted = (kinds.get(name, name) for name in (there, here))
        return [
            f"style.name: {there} against {here}: the base has {has}, this run would have {wanted}, and the weights"
            f" that read it are not the same: train with style={there}{path}"
        ]
    if there == "bert":
        fields = ", ".join(difference.field for difference in differences)
        return [
            f"style: {fields} differ: another encoder than the one that the base was trained with, to which a prompt"
            f" would mean something else: train with{path}"
        ]
    if there == "prompt":
        return [
            "style.path: another style encoder than the one that the base was trained with, to which a prompt would"
            " mean something else: leave style.path out, and the base's is taken"
        ]
    return told(differences)


def rounded_voices(base: Contract, policy: PrecisionPolicy) -> list[str]:
    """What would round the voices that are to stay as they are."""
    if policy.ran.endswith("-true") and base.precision.get("ran") != policy.ran and policy.ran != "32-true":
        return [f"speakers.policy=only_new: {policy.ran} rounds the old voices; take a …-mixed precision"]
    return []
