"""Memories of tasks, addressed as one: each label in its own task's memory, and nothing shared."""

import pytest
import torch

from rtp.errors import UserError
from rtp.modules import AddressableMemory, Memory, PixelMemory
from rtp.modules.memories.tasks import TaskMemories

TASKS = ((1, 4), (0, 3), (2, 5))


def addressable() -> Memory:
    return AddressableMemory((1, 4, 4), 2, images_per_class=2, num_bases=3)


def pixel() -> Memory:
    return PixelMemory((1, 4, 4), 2, images_per_class=2)


@pytest.fixture(params=[addressable, pixel])
def memories(request: pytest.FixtureRequest) -> TaskMemories:
    torch.manual_seed(0)
    return TaskMemories((1, 4, 4), TASKS, request.param)


def test_a_label_is_recalled_from_its_task(memories: TaskMemories) -> None:
    labels = torch.tensor([5, 0, 5, 1, 3])
    recalled = memories.recall(labels)
    for image, (task, place) in zip(recalled, [(2, 1), (1, 0), (2, 1), (0, 0), (1, 1)], strict=True):
        assert torch.equal(image, memories.of_task(task).recall(torch.tensor([place]))[0])
    assert memories.recall(torch.zeros(0, dtype=torch.long)).shape == (0, memories.num_slots, 1, 4, 4)


def test_one_hot_queries_recall_what_labels_do(memories: TaskMemories) -> None:
    labels = torch.arange(6)
    torch.testing.assert_close(memories.recall_queries(torch.eye(6)), memories.recall(labels))


def test_queries_of_the_wrong_width_are_refused(memories: TaskMemories) -> None:
    for width in (5, 7):
        with pytest.raises(UserError, match=rf"queries are \(2, {width}\), but the memory takes \(n, 6\)"):
            memories.recall_queries(torch.zeros(2, width))
    with pytest.raises(UserError, match=r"queries are \(2, 3\), but the memory takes \(n, 2\)"):
        memories.of_task(0).recall_queries(torch.zeros(2, 3))


def test_coefficients_combine_the_bases_of_all_tasks() -> None:
    torch.manual_seed(0)
    memories = TaskMemories((1, 4, 4), TASKS, lambda: AddressableMemory((1, 4, 4), 2, 2, 3, downsampling=1))
    coefficients = memories.coefficients()
    assert coefficients.shape == (6, memories.num_slots, 9)
    expected = torch.einsum("crk,kxyz->crxyz", coefficients, memories.bases)
    torch.testing.assert_close(memories.recall(torch.arange(6)), expected)
    assert coefficients[1, :, 3:].abs().max() == 0  # class 1 is of the first task


def test_the_price_is_that_of_all_memories_and_the_split_costs_nothing(memories: TaskMemories) -> None:
    assert memories.storage_floats == 3 * memories.of_task(0).storage_floats
    assert memories.storage_bytes == 4 * memories.storage_floats


def test_gradients_stay_in_the_task(memories: TaskMemories) -> None:
    memories.recall(torch.tensor([3])).sum().backward()
    reached = [any(p.grad is not None for p in memories.of_task(task).parameters()) for task in range(3)]
    assert reached == [False, True, False]
