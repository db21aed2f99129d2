"""Starts of memories from the minibatches of a stream: against a decomposition of all images at once."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules import AddressableMemory, Memory, PixelMemory
from rtp.modules.memories.data_start import extended_bases, filled_slots, principal_bases, projection

IMAGE_SHAPE, CLASSES = (2, 6, 6), 3


def stream(minibatches: int, rank: int = 72, size: int = 5) -> list[tuple[Tensor, Tensor]]:
    """Minibatches of images in a space of `rank` dimensions, every one of another length."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(rank, 18, generator=generator) * torch.logspace(0.5, -1, rank)[:, None]
    small = (torch.randn(minibatches, size, rank, generator=generator) @ directions).view(minibatches, size, 2, 3, 3)
    images = small.repeat_interleave(2, -1).repeat_interleave(2, -2)  # what downsampling by 2 gives back
    labels = torch.randint(CLASSES, (minibatches, size), generator=generator)
    return list(zip(images, labels, strict=True))


def started(memory: Memory, minibatches: list[tuple[Tensor, Tensor]]) -> tuple[Memory, Tensor]:
    held = torch.zeros(CLASSES, dtype=torch.int64)
    for images, labels in minibatches:
        held = memory.add_to_start(images, labels, held)
    return memory, held


def addressable(num_bases: int, images_per_class: float = 2) -> AddressableMemory:
    return AddressableMemory(IMAGE_SHAPE, CLASSES, images_per_class, num_bases=num_bases, init="data")


def test_images_of_few_dimensions_are_recalled_whole_whatever_the_minibatches() -> None:
    minibatches = stream(4, rank=6)
    memory, held = started(addressable(8), minibatches)
    images, labels = (torch.cat(parts) for parts in zip(*minibatches, strict=True))
    assert held.tolist() == labels.bincount(minlength=CLASSES).tolist()
    for label in range(CLASSES):
        own = F.avg_pool2d(images[labels == label], 2)
        slots = memory.coefficients()[label] @ memory.bases.flatten(1)
        torch.testing.assert_close(slots[: len(own)], own.flatten(1), rtol=1e-4, atol=1e-4)
        again = torch.arange(memory.num_slots) % len(own)  # the other slots repeat them
        torch.testing.assert_close(slots, slots[again])


def test_bases_of_two_minibatches_are_those_of_what_the_first_left_and_the_second() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(12, 2, 3, 3, generator=generator, dtype=torch.double)
    second = torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.double)
    bases = principal_bases(first, 5)
    coefficients = first.flatten(1) @ projection(bases)
    left = (coefficients @ bases.flatten(1)).view_as(first)
    found, expected = extended_bases(bases, coefficients, second), principal_bases(torch.cat([left, second]), 5)
    torch.testing.assert_close(found.square().mean((1, 2, 3)), torch.ones(5, dtype=torch.double))
    # the same up to sign
    cosines = (found.flatten(1) @ expected.flatten(1).T / 18).abs()
    torch.testing.assert_close(cosines, torch.eye(5, dtype=torch.double), rtol=0, atol=1e-9)


def test_a_long_stream_is_reproduced_nearly_as_well_as_by_all_images_at_once() -> None:
    minibatches = stream(12)
    memory, _ = started(addressable(6, images_per_class=8), minibatches)
    images, labels = (torch.cat(parts) for parts in zip(*minibatches, strict=True))
    small = F.avg_pool2d(images, 2).double()
    at_once = principal_bases(small, 6)
    best = (small.flatten(1) - small.flatten(1) @ projection(at_once) @ at_once.flatten(1)).square().sum()
    error = torch.zeros((), dtype=torch.double)
    for label in range(CLASSES):
        own = small[labels == label].flatten(1)
        assert len(own) <= memory.num_slots
        slots = memory.coefficients()[label, : len(own)] @ memory.bases.flatten(1)
        error += (slots - own).square().sum()
    assert best <= error <= 1.5 * best


def test_pixels_hold_the_first_images_of_a_class() -> None:
    minibatches = stream(6)
    memory, held = started(PixelMemory(IMAGE_SHAPE, CLASSES, 1, downsampling=2, init="data"), minibatches)
    images, labels = (torch.cat(parts) for parts in zip(*minibatches, strict=True))
    assert held.tolist() == [4, 4, 4]
    for label in range(CLASSES):
        torch.testing.assert_close(
            memory.bases[4 * label : 4 * label + 4], F.avg_pool2d(images[labels == label][:4], 2)
        )


def test_slots_take_the_first_images_of_their_class_and_any_without_one() -> None:
    slots, held = filled_slots(torch.tensor([2, 0, 2, 2, 0]), 3, 3)
    assert slots.tolist() == [[1, 4, 1], [0, 1, 2], [0, 2, 3]]
    assert held.tolist() == [2, 0, 3]


def test_a_memory_without_such_a_start_says_so() -> None:
    class Own(AddressableMemory):
        add_to_start = Memory.add_to_start

    with pytest.raises(UserError, match=r"Own has no start from a stream: define its add_to_start"):
        started(Own(IMAGE_SHAPE, CLASSES, 2, num_bases=4, init="data"), stream(1))
