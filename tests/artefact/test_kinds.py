"""The kinds of memory: identified by their tensors, and built again from them."""

from typing import Any

import pytest
import torch

from rtp.artefact.kinds import KINDS, identify_kind
from rtp.errors import UserError
from rtp.modules.memories.pixel import PixelMemory


@pytest.mark.parametrize("kind", ["addressable", "pixel", "image", "tasks"])
def test_a_memory_is_identified_and_built_again(make_memory: Any, kind: str) -> None:
    memory = make_memory(kind=kind)
    found = identify_kind(memory.memory.state_dict())
    assert found is not None
    assert found[0] == kind
    shapes = {name: tuple(tensor.shape) for name, tensor in found[1].items()}
    assert shapes == KINDS[found[0]].tensor_shapes(memory.description, len(memory.memory.bases))
    again = KINDS[found[0]].from_tensors(found[1], memory.description).state_dict()
    assert set(again) == set(memory.memory.state_dict())
    assert all(torch.equal(again[name], tensor) for name, tensor in memory.memory.state_dict().items())


def test_labels_find_their_tasks_again(make_memory: Any) -> None:
    memory = make_memory(kind="tasks")  # class 2 is the second task's, class 1 the third's
    assert torch.equal(memory.recall(torch.tensor([2]))[0], memory.memory.memories[1].recall(torch.tensor([0]))[0])
    assert torch.equal(memory.recall(torch.tensor([1]))[0], memory.memory.memories[2].recall(torch.tensor([0]))[0])


def test_what_is_no_memory_is_not_identify_kind(make_memory: Any) -> None:
    state = make_memory(kind="tasks").memory.state_dict()
    uneven = state | {"memories.1._bases": torch.zeros(4, 3, 4, 4)}
    for other in ({}, {"_bases": torch.zeros(1)}, {"feature_network.x": torch.zeros(1)}, state | {"x": torch.zeros(1)}):
        assert identify_kind(other) is None
    assert identify_kind({name: value for name, value in state.items() if "memories.1" not in name}) is None
    assert identify_kind(uneven) is None


def test_a_memory_of_one_s_own_needs_its_own_methods() -> None:
    class Mine(PixelMemory):
        @classmethod
        def named_tensors(cls, state: Any) -> None:
            return None

    with pytest.raises(UserError, match="a file cannot hold a Mine: define its named_tensors and from_tensors"):
        Mine((1, 8, 8), 2, 1).to_tensors()
