"""The kinds of memory: told apart by their tensors, and made again from them."""

from typing import Any

import pytest
import torch

from rtp.artefact.kinds import made, memory_shapes, recognised


@pytest.mark.parametrize("kind", ["addressable", "pixel", "image", "tasks"])
def test_a_memory_is_recognised_and_made_again(make_memory: Any, kind: str) -> None:
    memory = make_memory(kind=kind)
    found = recognised(memory.memory.state_dict())
    assert found is not None
    assert found[0] == kind
    shapes = {name: tuple(tensor.shape) for name, tensor in found[1].items()}
    assert shapes == memory_shapes(memory.description, len(memory.memory.bases))
    again = made(memory.description, found[1]).state_dict()
    assert set(again) == set(memory.memory.state_dict())
    assert all(torch.equal(again[name], tensor) for name, tensor in memory.memory.state_dict().items())


def test_labels_find_their_tasks_again(make_memory: Any) -> None:
    memory = make_memory(kind="tasks")  # class 2 is the second task's, class 1 the third's
    assert torch.equal(memory.recall(torch.tensor([2]))[0], memory.memory.memories[1].recall(torch.tensor([0]))[0])
    assert torch.equal(memory.recall(torch.tensor([1]))[0], memory.memory.memories[2].recall(torch.tensor([0]))[0])


def test_what_is_no_memory_is_not_recognised(make_memory: Any) -> None:
    state = make_memory(kind="tasks").memory.state_dict()
    uneven = state | {"memories.1._bases": torch.zeros(4, 3, 4, 4)}
    for other in ({}, {"_bases": torch.zeros(1)}, {"feature_network.x": torch.zeros(1)}, state | {"x": torch.zeros(1)}):
        assert recognised(other) is None
    assert recognised({name: value for name, value in state.items() if "memories.1" not in name}) is None
    assert recognised(uneven) is None
