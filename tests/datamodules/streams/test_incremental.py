"""Incremental classes: each task has its own, numbered from 0."""

import pytest
import torch

from rtp.datamodules import ImageDataModule, IncrementalClasses
from rtp.errors import UserError


def test_each_task_is_about_its_own_classes(numbered: ImageDataModule) -> None:
    stream = IncrementalClasses(source=numbered, tasks=4, samples_per_task=None, classes_per_task=2)
    stream.setup("fit")
    for task in range(4):
        images, labels = stream.task_set(task, "train")
        number = (stream.normalisation.invert(images)[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(number % 8, labels + 2 * task)
        assert labels.bincount().tolist() == [20, 20]


def test_samples_are_drawn_from_all_classes_of_a_task(numbered: ImageDataModule) -> None:
    stream = IncrementalClasses(source=numbered, tasks=4, samples_per_task=15, classes_per_task=2)
    stream.setup("fit")
    _, labels = stream.task_set(3, "train")
    assert len(labels) == 15
    assert set(labels.tolist()) == {0, 1}


def test_too_few_classes_or_samples_are_one_error(numbered: ImageDataModule) -> None:
    with pytest.raises(
        UserError, match=r"5 tasks of 2 classes need 10 classes, but numbered has 8: use tasks <= 4 or fewer"
    ):
        IncrementalClasses(source=numbered, tasks=5, samples_per_task=10, classes_per_task=2).setup("fit")
    with pytest.raises(UserError, match=r"samples_per_task is 41, but numbered has 40 such images for task 0"):
        IncrementalClasses(source=numbered, tasks=4, samples_per_task=41, classes_per_task=2).setup("fit")
    with pytest.raises(UserError, match="classes_per_task must be at least 2, got 1"):
        IncrementalClasses(source=numbered, tasks=5, samples_per_task=10, classes_per_task=1)
