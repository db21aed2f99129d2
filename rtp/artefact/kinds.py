"""The kinds of memory that a file can hold: their tensors in the file, and the modules that these become again."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rtp.artefact.layout import Description, Kind
from rtp.modules.memories.addressable import AddressableMemory, SharedBases
from rtp.modules.memories.base import Memory
from rtp.modules.memories.image_addressing import ImageAddressing
from rtp.modules.memories.pixel import PixelMemory
from rtp.modules.memories.tasks import TaskMemories

ADDRESSED = {"bases": "_bases", "addressing": "addressing"}
"""Names in the file, and where the `state_dict` of bases and addressing matrices has them."""
NETWORK, FEATURES = "feature_network.", "features."
"""What the weights of a feature network begin with in a `state_dict` and in a file."""


def recognised(state: Mapping[str, Tensor]) -> tuple[Kind, dict[str, Tensor]] | None:
    """Tell the kind of a memory by the names of its tensors.

    Args:
        state: A memory's `state_dict`.

    Returns:
        The kind and the tensors by their names in a file, or None where it is no memory of rtp.
    """
    if set(state) == {"images"}:
        return "pixel", dict(state)
    weights = {name: value for name, value in state.items() if name.startswith(NETWORK)}
    if set(state) - set(weights) == set(ADDRESSED.values()):
        tensors = {name: state[key] for name, key in ADDRESSED.items()}
        tensors |= {FEATURES + name.removeprefix(NETWORK): value for name, value in weights.items()}
        return ("image" if weights else "addressable"), tensors
    num_tasks = len(state) // len(ADDRESSED)
    parts = {name: [_of_task(task, key) for task in range(num_tasks)] for name, key in ADDRESSED.items()}
    if num_tasks and set(state) == {key for keys in parts.values() for key in keys}:
        shapes = [{state[key].shape for key in keys} for keys in parts.values()]
        if all(len(of_one_name) == 1 for of_one_name in shapes):
            return "tasks", {name: torch.cat([state[key] for key in keys]) for name, keys in parts.items()}
    return None


def memory_shapes(description: Description, num_bases: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the memory's tensors by their names in a file.

    Args:
        description: What the artefact says of itself.
        num_bases: Number of bases, of all tasks together; of no meaning to a pixel memory.
    """
    channels, height, width = description.image_shape
    basis = (channels, height // description.downsampling, width // description.downsampling)
    classes, slots = len(description.class_names), description.num_slots
    if description.kind == "pixel":
        return {"images": (classes * slots, *basis)}
    if description.tasks is not None:
        tasks, ways = len(description.tasks), len(description.tasks[0])
        per_task = num_bases // tasks  # the shapes differ from the tensors' where there is a rest
        return {"bases": (tasks * per_task, *basis), "addressing": (tasks * slots, ways, per_task)}
    shapes: dict[str, tuple[int, ...]] = {"bases": (num_bases, *basis)}
    if description.query is None:
        return shapes | {"addressing": (slots, classes, num_bases)}
    weights = description.query.shapes(description.image_shape)
    addressing = {"addressing": (slots, description.query.query_dim, num_bases)}
    return shapes | addressing | {f"{FEATURES}{name}": shape for name, shape in weights.items()}


def made(description: Description, tensors: Mapping[str, Tensor]) -> Memory:
    """The module that tensors of the right names and shapes are the numbers of.

    Args:
        description: What the artefact says of itself.
        tensors: float32, by their names in a file.
    """
    memory, state = _without_numbers(description, tensors), dict(tensors)
    if description.kind == "tasks":
        assert description.tasks is not None
        parts = {name: tensor.chunk(len(description.tasks)) for name, tensor in tensors.items()}
        state = {_of_task(t, ADDRESSED[name]): part for name, of in parts.items() for t, part in enumerate(of)}
    elif description.kind != "pixel":
        state = {ADDRESSED.get(name, name.replace(FEATURES, NETWORK, 1)): value for name, value in tensors.items()}
    memory.load_state_dict(state, assign=True)
    return memory


def _without_numbers(description: Description, tensors: Mapping[str, Tensor]) -> Memory:
    """A module of the right shapes on the meta device: no numbers are drawn or kept."""
    shape, downsampling = description.image_shape, description.downsampling
    slots, classes = description.num_slots, len(description.class_names)
    if description.tasks is not None:
        (_, ways, per_task), basis = tensors["addressing"].shape, tensors["bases"].shape[1:]

        def of_one_task() -> Memory:
            with torch.device("meta"):
                return SharedBases(shape, ways, slots, per_task, (basis[0], basis[1], basis[2]), "kaiming_uniform")

        return TaskMemories(shape, description.tasks, of_one_task)
    # half a float more, so that rounding never leaves less than what is there
    floats = sum(tensor.numel() for tensor in tensors.values()) + 0.5
    images_per_class = floats / (classes * math.prod(shape))
    with torch.device("meta"):
        if description.kind == "pixel":
            return PixelMemory(shape, classes, images_per_class, downsampling)
        num_bases = len(tensors["bases"])
        if description.query is None:
            return AddressableMemory(shape, classes, images_per_class, num_bases, downsampling)
        query = description.query
        return ImageAddressing(shape, classes, query.build, query.query_dim, num_bases, slots, downsampling)


def _of_task(task: int, key: str) -> str:
    return f"memories.{task}.{key}"
