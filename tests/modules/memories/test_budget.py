"""Equation 4, against cases computed by hand."""

import random
import re
from typing import Any

import pytest

from rtp.errors import UserError
from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.base import Memory
from rtp.modules.memories.budget import StorageBudget
from rtp.modules.memories.number_formats import STORED_TYPES, StoredType
from rtp.modules.memories.pixel import PixelMemory

CIFAR10 = (3, 32, 32)


def test_cifar10_with_one_image_a_class_and_16_bases_recalls_115_images_a_class() -> None:
    # (1*10*3072 - 16*768) / (10*16) = 18432 / 160 = 115.2
    assert StorageBudget(1, 10, CIFAR10, downsampling=2).num_matrices(16) == 115


@pytest.mark.parametrize(
    ("images_per_class", "num_classes", "shape", "downsampling", "num_bases", "matrices"),
    [
        (1, 10, (1, 28, 28), 2, 8, 78),  # (7840 - 8*196) / 80 = 78.4
        (10, 100, (3, 32, 32), 1, 43, 683),  # (3072000 - 43*3072) / 4300 = 683.6
        (0.5, 10, (3, 32, 32), 2, 4, 307),  # (15360 - 4*768) / 40 = 307.2
        (1, 2, (1, 4, 4), 1, 1, 8),  # (32 - 16) / 2 = 8, exactly
    ],
)
def test_number_of_matrices_is_the_integer_lower_bound(
    images_per_class: float,
    num_classes: int,
    shape: tuple[int, int, int],
    downsampling: int,
    num_bases: int,
    matrices: int,
) -> None:
    budget = StorageBudget(images_per_class, num_classes, shape, downsampling)

    assert budget.num_matrices(num_bases) == matrices

    stored = num_bases * budget.basis_size + matrices * num_classes * num_bases
    assert 32 * stored <= budget.bits < 32 * (stored + num_classes * num_bases)


@pytest.mark.parametrize(
    ("images_per_class", "shape", "num_bases"),
    [
        (1, CIFAR10, 16),  # 0.4 * 30720 / 768
        (10, CIFAR10, 160),
        (50, (1, 28, 28), 196),  # 0.4 * 392000 / 196 would be 800, but 14x14 pixels have 196 dimensions
        (10, (1, 8, 8), 16),  # 0.4 * 6400 / 16 would be 160
        (50, (3, 32, 32), 768),
        (1, (1, 8, 8), 8),  # 0.4 * 640 / 16 would be 16 with 2 images a class; 640 / (16 + 6 * 10) = 8.4
        (0.1, (1, 8, 8), 1),  # too little for one basis, which num_matrices says
    ],
)
def test_balanced_bases(images_per_class: float, shape: tuple[int, int, int], num_bases: int) -> None:
    assert StorageBudget(images_per_class, 10, shape, downsampling=2).balanced_bases() == num_bases


@pytest.mark.parametrize(("stored_as", "num_bases"), [("float16", 32), ("int8", 48), ("int4", 64)])
def test_balanced_bases_of_shorter_numbers(stored_as: StoredType, num_bases: int) -> None:
    # 0.4 * 983040 / (768 * 16) = 32; 0.3 * 983040 / (768 * 8 + 16) = 47.9; 0.2 * 983040 / (768 * 4 + 16) = 63.7
    assert StorageBudget(1, 10, CIFAR10, 2, stored_as=stored_as).balanced_bases() == num_bases


def test_downsampled_pixels_buy_ds_squared_images() -> None:
    assert StorageBudget(1, 10, CIFAR10, downsampling=1).num_images() == 1
    assert StorageBudget(1, 10, CIFAR10, downsampling=2).num_images() == 4
    assert StorageBudget(10, 10, (1, 28, 28), downsampling=2).num_images() == 40


def test_too_many_bases_are_refused_with_values_that_fit() -> None:
    budget = StorageBudget(1, 10, CIFAR10, downsampling=1)
    with pytest.raises(UserError, match=r"num_bases=64 does not fit .* num_bases <= 9 or images_per_class >= 6.43"):
        budget.num_matrices(64)
    assert budget.num_matrices(9) >= 1
    with pytest.raises(UserError):
        budget.num_matrices(10)
    assert StorageBudget(6.43, 10, CIFAR10, downsampling=1).num_matrices(64) >= 1


def test_a_budget_without_room_for_a_single_basis_names_the_budget_alone() -> None:
    with pytest.raises(UserError, match=r"use images_per_class >= "):
        StorageBudget(0.01, 10, CIFAR10, downsampling=1).num_matrices(1)


def test_a_budget_below_one_image_a_class_holds_no_pixels() -> None:
    with pytest.raises(UserError, match=r"images_per_class=0.2 holds no image .* >= 0.25"):
        StorageBudget(0.2, 10, CIFAR10, downsampling=2).num_images()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (1, 10, (1, 28, 28), 3),
            "downsampling=3 does not divide the image of 28x28 pixels: use one of 1, 2, 4, 7",
        ),
        ((1, 10, (1, 28, 28), 0), "downsampling=0 does not divide"),
        ((0, 10, (1, 28, 28), 2), "images_per_class must be positive, got 0"),
        ((float("nan"), 10, (1, 28, 28), 2), "images_per_class must be positive, got nan"),
    ],
)
def test_impossible_budgets_are_refused(arguments: tuple[float, int, tuple[int, int, int], int], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        StorageBudget(*arguments)


def test_fewer_than_one_basis_is_refused() -> None:
    with pytest.raises(UserError, match="num_bases must be at least 1, got 0"):
        StorageBudget(1, 10, CIFAR10, 2).num_matrices(0)


@pytest.mark.parametrize(
    ("stored_as", "num_bases", "matrices"),
    [
        ("float16", 32, 115),  # (61440 - 32*768) / 320 = 115.2 of 16 bits
        ("int8", 64, 114),  # 983040 bits; a basis 768*8 + 16, a matrix 640*8 + 16: (983040 - 64*6160) / 5136 = 114.6
        ("int4", 128, 114),  # a basis 768*4 + 16, a matrix 1280*4 + 16: (983040 - 128*3088) / 5136 = 114.4
    ],
)
def test_cifar10_with_one_image_a_class_in_fewer_bits(stored_as: StoredType, num_bases: int, matrices: int) -> None:
    assert StorageBudget(1, 10, CIFAR10, 2, stored_as=stored_as).num_matrices(num_bases) == matrices


@pytest.mark.parametrize(
    "budget",
    [
        StorageBudget(1, 10, CIFAR10, 2),
        StorageBudget(None, 10, CIFAR10, 2, total_bytes=4 * 30720),
        StorageBudget(None, 10, CIFAR10, 2, bits_per_class=98304),  # 32 * 3072
    ],
)
def test_the_units_of_a_budget(budget: StorageBudget) -> None:
    assert budget.bits == 983040
    assert (budget.num_matrices(16), budget.num_images(), budget.balanced_bases()) == (115, 4, 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the budget is not given: give one of images_per_class, total_bytes, bits_per_class"),
        ({"images_per_class": 1, "total_bytes": 9}, "the budget is images_per_class and total_bytes: give one"),
        ({"bits_per_class": -1}, "bits_per_class must be positive, got -1"),
    ],
)
@pytest.mark.parametrize("memory", [AddressableMemory, PixelMemory])
def test_exactly_one_positive_budget(memory: type[Memory], given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        memory(CIFAR10, 10, **given)


@pytest.mark.parametrize("stored_as", STORED_TYPES)
@pytest.mark.parametrize("unit", ["total_bytes", "bits_per_class"])
def test_what_a_message_proposes_fits(stored_as: StoredType, unit: str) -> None:
    def budget(amount: float) -> StorageBudget:
        return StorageBudget(None, 7, (3, 60, 100), 2, stored_as=stored_as, **{unit: amount})  # type: ignore[arg-type]

    with pytest.raises(UserError) as caught:
        budget(30_000).num_matrices(1890)  # it takes millions of bytes
    proposed = re.search(rf"use (?:num_bases <= (\d+) or )?{unit} >= (\d+)", str(caught.value))
    assert proposed is not None
    assert budget(int(proposed[2])).num_matrices(1890) == 1
    with pytest.raises(UserError):
        budget(int(proposed[2]) - 1).num_matrices(1890)
    if proposed[1]:
        assert budget(30_000).num_matrices(int(proposed[1])) >= 1
        with pytest.raises(UserError):
            budget(30_000).num_matrices(int(proposed[1]) + 1)


@pytest.mark.parametrize("stored_as", STORED_TYPES)
def test_no_memory_of_any_format_exceeds_its_budget_or_leaves_room_for_another_matrix(stored_as: StoredType) -> None:
    draw, built = random.Random(0), 0
    for _ in range(200):
        classes, side, channels = draw.randint(2, 13), 2 * draw.randint(1, 7), draw.choice([1, 3])
        shape, ds = (channels, side, side), draw.choice([1, 2])
        sizes = [("images_per_class", 3), ("total_bytes", 9000), ("bits_per_class", 8000)]
        unit, most = draw.choice(sizes)
        given: dict[str, Any] = {unit: draw.uniform(0.01, most), "downsampling": ds, "stored_as": stored_as}
        learned = draw.random() < 0.3
        budget = StorageBudget(**({"images_per_class": None, "num_classes": classes, "image_shape": shape} | given))
        try:
            num_bases = draw.choice([None, draw.randint(1, 40)])
            memory: Memory = AddressableMemory(shape, classes, num_bases=num_bases, learned_rate=learned, **given)
        except UserError:
            continue
        built += 1
        assert memory.storage_bits <= budget.bits
        assert memory.storage_bits + budget.matrix_bits(len(memory.bases)) > budget.bits
        try:
            memory = PixelMemory(shape, classes, **given)
        except UserError:
            continue
        assert memory.storage_bits <= budget.bits < memory.storage_bits + classes * budget.basis_bits
    assert built > 60
