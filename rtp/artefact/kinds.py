"""The kinds of memory that a file can hold; the memories themselves know their tensors."""

from collections.abc import Mapping

from torch import Tensor

from rtp.artefact.layout import Kind
from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.base import Memory
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.modules.memories.pixel import PixelMemory
from rtp.modules.memories.tasks import TaskMemories

KINDS: dict[Kind, type[Memory]] = {
    "addressable": AddressableMemory,
    "pixel": PixelMemory,
    "image": ImageAddressedMemory,
    "tasks": TaskMemories,
}
"""The class of each kind."""


def identify_kind(state: Mapping[str, Tensor]) -> tuple[Kind, dict[str, Tensor]] | None:
    """A memory's kind and its tensors by their names in a file, from its `state_dict`; None if no file holds it."""
    for kind, memory in KINDS.items():
        if (tensors := memory.named_tensors(state)) is not None:
            return kind, tensors
    return None
