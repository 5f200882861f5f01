"""The loaders: the same batches with and without worker processes, from any batch on."""

from __future__ import annotations

from dataclasses import fields
from itertools import islice
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from unison.data.batch import Batch
from unison.data.config import LoaderConfig
from unison.data.datamodule import CorpusDataModule
from unison.data.manifest import Corpus
from unison.prepare import prepare
from unison.prepare.config import DataConfig
from unison.text import frontend

from .conftest import GEOMETRY


def module(prepared: Path, workers: int = 0, start: int = 0, **loader: int) -> CorpusDataModule:
    config = LoaderConfig(num_workers=workers, **loader)  # type: ignore[arg-type]
    return CorpusDataModule(prepared, 4, 400, config, seed=3, start_batch=start)


def take(data: CorpusDataModule, count: int) -> list[Batch]:
    return list(islice(data.train_dataloader(), count))


def assert_equal(left: list[Batch], right: list[Batch]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys == b.keys
        for field in fields(Batch):
            if field.name != "keys":
                torch.testing.assert_close(getattr(a, field.name), getattr(b, field.name), rtol=0, atol=0)


def test_epoch_reads_the_training_split(prepared: Path) -> None:
    data = module(prepared)
    keys = [key for batch in take(data, data.train_sampler().epoch_batches) for key in batch.keys]
    assert sorted(keys) == [u.key for u in Corpus(prepared).split("train")]


def test_worker_processes_change_nothing(prepared: Path) -> None:
    assert_equal(take(module(prepared), 20), take(module(prepared, workers=2), 20))


def test_start_batch_continues_the_stream(prepared: Path) -> None:
    whole = take(module(prepared), 25)
    assert_equal(take(module(prepared, start=13), 12), whole[13:])
    data = module(prepared)
    data.start_batch = 13
    assert_equal(take(data, 12), whole[13:])


def test_batch_settings_may_change(prepared: Path) -> None:
    data = module(prepared)
    data.batch_size, data.batch_frames = 1, 10_000
    assert all(len(batch.keys) == 1 for batch in take(data, 10))


def test_loading_leaves_the_global_generator_alone(prepared: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    take(module(prepared, workers=1), 3)
    list(module(prepared).val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_is_the_same_every_time(prepared: Path) -> None:
    first, second = (list(module(prepared).val_dataloader()) for _ in range(2))
    assert_equal(first, second)
    keys = [key for batch in first for key in batch.keys]
    assert sorted(keys) == [u.key for u in Corpus(prepared).split("valid")]
    capped = [key for batch in module(prepared, valid_clips=3).val_dataloader() for key in batch.keys]
    assert len(capped) == 3
    assert set(capped) < set(keys)


class Reader(LightningModule):
    """Learns nothing; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[str]] = []
        self.validated: list[list[str]] = []

    def training_step(self, batch: Batch) -> Tensor:
        self.seen.append(batch.keys)
        return self.weight.sum() * batch.mel.mean()

    def validation_step(self, batch: Batch) -> None:
        self.validated.append(batch.keys)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize("workers", [0, 1])
def test_lightning_reads_the_stream(prepared: Path, tmp_path: Path, workers: int) -> None:
    reader = Reader()
    trainer = Trainer(
        max_steps=20,
        accelerator="cpu",
        use_distributed_sampler=False,
        val_check_interval=10,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(reader, datamodule=module(prepared, workers))
    assert reader.seen == [batch.keys for batch in take(module(prepared), 20)]
    once = [batch.keys for batch in module(prepared).val_dataloader()]
    assert reader.validated == once * 2


def test_a_held_out_speaker_is_not_asked_of_a_table_of_voices(prepared: Path, tmp_path: Path) -> None:
    raw = str(prepared.parent / "raw")
    data = DataConfig(name="mini", corpus="csv", raw=raw, workers=1, valid_speakers=["bob"])
    folder = prepare(data, GEOMETRY, frontend("english"), tmp_path, progress=False)
    assert {u.speaker for u in Corpus(folder).split("valid")} == {"ann", "bob"}
    loaders = module(folder)
    assert {u.speaker for u in loaders.valid_set.utterances} == {"ann"}
    assert all(batch.speakers.tolist() == [0] * len(batch.keys) for batch in loaders.val_dataloader())
