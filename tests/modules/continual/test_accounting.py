"""What every learner stores at every step of a small stream, counted from what it holds; and that it sees all once."""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from rtp.datamodules import Digits, IncrementalClasses, PermutedTasks, TaskStream
from rtp.datamodules.streams.base import StreamBatch
from rtp.modules import CompressThenRecall, ContinualLearner, Multitask
from rtp.modules.memories.number_formats import rounded

REPLAYS, SAMPLES = 2, 12


def nbytes(*tensors: Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def taken(samples: Tensor, axes: int) -> int:
    """Places of a buffer (axes, ...) that hold a sample: no image of a digit is all zeros."""
    return int((samples.flatten(axes) != 0).any(-1).sum())


def memory_bytes(numbers: Tensor) -> int:
    """Bytes of a memory's bases or matrices in the format that they are rounded to."""
    in_int8 = torch.equal(rounded(numbers, "int8"), numbers)
    return numbers.numel() + 2 * len(numbers) if in_int8 else nbytes(numbers)


def counted(learner: ContinualLearner) -> tuple[int, int, int]:
    """Bytes of samples, logits and stored memories, of all else, and numbers of the first, from the learner's state."""
    stored, other, numbers = 0, 0, 0
    state = learner.state_dict()
    finished = int(learner.finished_tasks)
    for name, tensor in state.items():
        owner, _, last = name.rpartition(".")
        if owner.startswith("stored."):
            if int(owner.split(".")[1]) < finished:
                stored += memory_bytes(tensor)
                numbers += tensor.numel()
        elif f"{owner}.images" in state:  # of a store, whose samples may be in a row for each task
            images = state[f"{owner}.images"]
            axes = images.dim() - 3
            held = taken(images, axes)
            each = tensor.nbytes // math.prod(images.shape[:axes])
            if last in ("images", "ranges", "logits"):
                stored += held * each
                numbers += held * math.prod(tensor.shape[axes:])
            else:
                other += nbytes(tensor) if last == "_counts" else held * each
        else:
            other += nbytes(tensor)
    for optimizer in learner.trainer.optimizers:
        other += sum(
            nbytes(value) for state in optimizer.state.values() for value in state.values() if value is not None
        )
    if isinstance(learner, Multitask):  # reads again what others store
        stored, other = stored + int(learner.samples) * 4 * 64, other + int(learner.samples) * 2 * 8
        numbers += int(learner.samples) * 64
    return stored, other, numbers


class Watch(L.Callback):
    """Counts after every minibatch, and notes which samples came."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, tuple[float, ...]]] = []
        self.steps, self.most = 0, 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: StreamBatch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ContinualLearner)
        stored, other, numbers = counted(pl_module)
        assert pl_module.storage_bytes == stored <= pl_module.budget_bytes
        assert pl_module.other_bytes == other
        assert pl_module.storage_floats == numbers
        self.most = max(self.most, stored)
        self.steps += 1
        self.seen += [(batch.task, tuple(image.flatten().tolist())) for image in batch.images]


@pytest.mark.parametrize("kind", [PermutedTasks, IncrementalClasses], ids=lambda kind: kind.__name__)
def test_a_learner_keeps_to_its_budget_and_reads_no_sample_twice(
    kind: type[Any], any_learner: tuple[type[Any], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    own = {"classes_per_task": 2} if kind is IncrementalClasses else {}
    stream = kind(source=Digits(), tasks=2, samples_per_task=SAMPLES, batch_size=5, replays=REPLAYS, **own)
    # where the data are read; a learner that reads them beside the pass would be noticed
    reads: Counter[int] = Counter()
    read = TaskStream.task_set

    def noting(self: TaskStream, task: int, split: Any) -> Any:
        reads[task] += split == "train"
        return read(self, task, split)

    monkeypatch.setattr(TaskStream, "task_set", noting)
    learner_kind, arguments = any_learner
    facts = {name: getattr(stream, name) for name in ("image_shape", "num_classes", "total_classes", "num_tasks")}
    watch = Watch()
    learner = learner_kind(**facts, **arguments)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        reload_dataloaders_every_n_epochs=1,
        limit_val_batches=0,
        default_root_dir=tmp_path,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(learner, datamodule=stream)
    assert watch.steps == 2 * 3 * REPLAYS
    assert watch.most <= learner.largest_storage_bytes <= learner.budget_bytes or learner_kind is Multitask
    if learner.memory_images and learner_kind is not CompressThenRecall:
        assert watch.most > 0
    # each sample comes `replays` times in a row, in its own minibatch, and never again
    places: dict[tuple[int, tuple[float, ...]], list[int]] = {}
    for place, sample in enumerate(watch.seen):
        places.setdefault(sample, []).append(place)
    assert len(places) == 2 * SAMPLES
    for where in places.values():
        assert len(where) == REPLAYS
        assert len({second - first for first, second in pairwise(where)}) == 1
        assert where[-1] - where[0] <= 5 * (REPLAYS - 1)
    once = learner_kind is not Multitask
    assert reads == ({0: 1, 1: 1} if once else {0: 3, 1: 2})
