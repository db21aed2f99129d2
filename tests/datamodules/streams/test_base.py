"""What a task of a stream holds, what the module is told, and the errors before training."""

from typing import Any

import pytest
import torch

from rtp.datamodules import ImageDataModule, IncrementalClasses, PermutedTasks
from rtp.errors import UserError


def test_the_training_set_of_a_task_is_in_the_order_of_the_stream(numbered: ImageDataModule, stream_of: Any) -> None:
    stream = stream_of(numbered, replays=2)
    images, labels = stream.task_set(2, "train")
    batches = [batch for batch in stream.pass_over(2) if batch.replay == 0]
    assert torch.equal(images, torch.cat([batch.images for batch in batches]))
    assert torch.equal(labels, torch.cat([batch.labels for batch in batches]))


def test_splits_have_no_image_in_common_and_null_takes_all(
    numbered: ImageDataModule, stream_of: Any, numbers: Any
) -> None:
    stream = stream_of(numbered, "test", samples_per_task=None, validation_samples=16)
    train, validation = (set(numbers(stream, stream.task_set(0, split)[0])) for split in ("train", "val"))
    assert (len(train), len(validation), stream.num_samples(0, "test")) == (160, 16, 48)
    assert not train & validation
    other = set(numbers(stream, stream.task_set(1, "val")[0]))
    assert other != validation  # a draw of its own


def test_the_order_follows_from_seed_and_task(numbered: ImageDataModule, stream_of: Any, numbers: Any) -> None:
    orders = [
        tuple(numbers(stream_of(numbered, seed=seed), stream_of(numbered, seed=seed).task_set(task, "train")[0]))
        for seed, task in [(0, 0), (0, 0), (0, 1), (1, 0)]
    ]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3


def test_without_a_trainer_the_first_task_comes(numbered: ImageDataModule, stream_of: Any) -> None:
    assert {batch.task for batch in stream_of(numbered).train_dataloader()} == {0}


def test_what_the_module_is_told(numbered: ImageDataModule) -> None:
    shared = PermutedTasks(numbered, 3, 10)
    assert (shared.name, shared.image_shape, shared.num_tasks) == ("permuted_numbered", (1, 4, 4), 3)
    assert (shared.num_classes, shared.total_classes, len(shared.class_names)) == (8, 8, 8)
    own = IncrementalClasses(source=numbered, tasks=3, samples_per_task=10, classes_per_task=2)
    assert (own.num_classes, own.total_classes, own.class_names) == (2, 6, tuple("abcdef"))


@pytest.mark.parametrize(
    "argument", ["tasks", "samples_per_task", "batch_size", "replays", "validation_samples", "test_samples"]
)
def test_numbers_below_one_are_refused(argument: str, numbered: ImageDataModule, stream_of: Any) -> None:
    with pytest.raises(UserError, match=f"{argument} must be at least 1, got 0"):
        stream_of(numbered, **{argument: 0})


@pytest.mark.parametrize(
    ("arguments", "stage", "message"),
    [
        (
            {"samples_per_task": 161},
            "fit",
            "samples_per_task is 161, but numbered has 160 .* use samples_per_task <= 160",
        ),
        ({"validation_samples": 41}, "fit", "validation_samples is 41, but numbered has 40 such images for task 0"),
        ({"test_samples": 49}, "test", "test_samples is 49, but numbered has 48 such images for task 0"),
    ],
)
def test_too_few_images_are_one_error_before_training(
    arguments: dict[str, int], stage: str, message: str, numbered: ImageDataModule, stream_of: Any
) -> None:
    with pytest.raises(UserError, match=message):
        stream_of(numbered, stage, **arguments)


def test_prediction_is_asked_for_every_task(numbered: ImageDataModule, stream_of: Any) -> None:
    assert list(stream_of(numbered).predict_dataloader()) == list(range(stream_of(numbered).num_tasks))
