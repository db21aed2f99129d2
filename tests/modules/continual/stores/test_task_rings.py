"""The last samples of each task, and draws from those before a task."""

import pytest
import torch

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.continual.stores.task_rings import TaskRings


def show(rings: TaskRings, task: int, first: int, last: int) -> None:
    """Samples that say which they are."""
    numbers = torch.arange(first, last)
    rings.add(StreamBatch(numbers.view(-1, 1, 1, 1).float(), numbers, task, 0, last=False))


def test_the_last_samples_stay() -> None:
    rings = TaskRings(7, 2, (1, 1, 1))  # three places a task
    show(rings, 0, 0, 2)
    assert rings.content(0)[1].tolist() == [0, 1]
    show(rings, 0, 2, 5)
    show(rings, 1, 10, 20)
    assert [sorted(rings.content(task)[1].tolist()) for task in range(2)] == [[2, 3, 4], [17, 18, 19]]
    assert torch.equal(rings.content(1)[0].flatten().long(), rings.content(1)[1])
    assert (len(rings), rings.storage_bytes, rings.other_bytes) == (6, 24, 6 * 8 + 2 * 8)


def test_a_draw_is_from_the_tasks_before() -> None:
    rings = TaskRings(12, 3, (1, 1, 1))
    for task, count in enumerate((2, 6, 6)):
        show(rings, task, 10 * task, 10 * task + count)
    torch.manual_seed(0)
    assert len(rings.sample(5, before=0)[1]) == 0
    images, labels, tasks = rings.sample(100, before=2)
    assert sorted(labels.tolist()) == [0, 1, 12, 13, 14, 15]
    assert torch.equal(images.flatten().long(), labels)
    assert torch.equal(labels // 10, tasks)
    drawn = torch.cat([rings.sample(2, before=2)[1] for _ in range(300)])
    counts = torch.stack([(drawn == label).sum() for label in labels])
    assert (counts - 100).abs().max() < 40


def test_each_task_has_a_place() -> None:
    with pytest.raises(UserError, match="memory_images holds 2 images, less than one for each of 3 tasks"):
        TaskRings(2, 3, (1, 1, 1))
