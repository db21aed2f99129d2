"""Evaluation tasks: the accuracy of each does not depend on the size of a chunk."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rtp.evaluation.tasks import EvaluationTask, task_accuracies
from rtp.modules import ConvNet
from rtp.modules.networks.training import TrainingProtocol

PROTOCOL = TrainingProtocol(epochs=20, batch_size=6, learning_rate=0.1)


def network() -> nn.Module:
    return ConvNet((1, 4, 4), 2, width=4, depth=1)


def task(number: int, right: float) -> EvaluationTask:
    """The upper or the lower half is bright; a part of the test labels are right."""
    labels = torch.arange(8) % 2
    images = torch.zeros(8, 1, 4, 4)
    images[labels == 0, :, :2], images[labels == 1, :, 2:] = 1, 1
    test_labels = torch.where(torch.arange(8) < round(8 * right), labels, 1 - labels)
    return EvaluationTask(images, labels, images, test_labels, number)


@pytest.mark.parametrize("vmapped", [False, True])
def test_the_accuracy_of_each_task_is_measured_on_its_own_images(vmapped: bool) -> None:
    rights = [1.0, 0.25, 0.75, 0.0, 1.0]
    tasks = [task(number, right) for number, right in enumerate(rights)]
    for chunk_size in (1, 2, 5):
        assert task_accuracies(tasks, network, PROTOCOL, vmapped=vmapped, chunk_size=chunk_size) == rights


def test_only_a_chunk_of_tasks_is_asked_for_at_once() -> None:
    made, epochs = [], []

    def tasks() -> Iterator[EvaluationTask]:
        for number in range(5):
            made.append(number)
            yield task(number, 1)

    def on_epoch() -> None:
        epochs.append(len(made))

    task_accuracies(tasks(), network, TrainingProtocol(epochs=1), vmapped=False, chunk_size=2, on_epoch=on_epoch)
    assert epochs == [2, 2, 4, 4, 5]
