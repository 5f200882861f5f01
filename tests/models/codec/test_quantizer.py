"""Codebooks that several processes learn are those that one learns from all that they hear."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from unison.models.codec.config import CodecConfig
from unison.models.codec.quantizer import Quantizer

DIM, FRAMES, WORLD = 4, 60, 2


def quantizer(dropout: float = 0.0, revive: float = 0.1) -> Quantizer:
    torch.manual_seed(0)
    config = CodecConfig(
        channels=4, max_channels=4, strides=[2], dilations=[1], residual_kernel=3, codebook_size=16, codebooks=3,
        codebook_dim=DIM, quantizer_dropout=dropout, revive_below=revive,
    )  # fmt: skip
    return Quantizer(config).train()


def heard(rank: int) -> tuple[Tensor, Tensor]:
    """Vectors [2, D, T] and where they count, which is less in the first process."""
    generator = torch.Generator().manual_seed(rank)
    vectors = torch.randn(2, DIM, FRAMES, generator=generator) * (1 + 9 * rank)
    return vectors, torch.arange(FRAMES) < torch.tensor([[FRAMES], [FRAMES // (2 - rank)]])


def begun() -> Quantizer:
    """With codebooks that are not the first batch's, and nothing drawn."""
    one = quantizer(revive=0.0)
    for layer in one.residual.layers:
        book = layer._codebook
        book.initted.fill_(True)
        book.embed_avg.copy_(book.embed)
    return one


def learn(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    models = {"begun": begun(), "new": quantizer(revive=0.9), "dropping": quantizer(0.5)}
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    states = {}
    for name, one in models.items():
        one.learn_together()
        torch.manual_seed(rank)  # as steps do
        for _ in range(1 if name == "begun" else 6):
            one(*heard(rank))
        states[name] = one.state_dict()
    torch.save(states, f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each process knows in the end."""
    folder = tmp_path_factory.mktemp("together")
    multiprocessing.spawn(learn, args=(str(folder),), nprocs=WORLD)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def test_a_step_is_that_of_one_process_with_all_vectors(learnt: list[dict[str, dict[str, Tensor]]]) -> None:
    alone = begun()
    vectors, counted = zip(*(heard(rank) for rank in range(WORLD)), strict=True)
    alone(torch.cat(vectors), torch.cat(counted))
    for name, value in alone.state_dict().items():
        for one in learnt:
            torch.testing.assert_close(one["begun"][name], value, msg=name)


@pytest.mark.parametrize("which", ["new", "dropping"])
def test_all_processes_know_the_same(learnt: list[dict[str, dict[str, Tensor]]], which: str) -> None:
    """Which begin at clusters of what all hear, start unused entries anew and leave codebooks out."""
    first, second = (one[which] for one in learnt)
    assert all(torch.equal(first[name], second[name]) for name in first)
    largest = max(float(value.abs().max()) for name, value in first.items() if name.endswith("_codebook.embed"))
    assert largest > 10, "the louder process's vectors are known"
