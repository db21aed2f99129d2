"""Starts from data: the best bases, and coefficients that reproduce real images."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.datamodules import Digits
from rtp.errors import UserError
from rtp.modules import AddressableMemory, ConvNet, ImageAddressedMemory, Memory, PixelMemory
from rtp.modules.memories.data_start import principal_bases, projection, reproduced_share
from rtp.modules.memories.tasks import TaskMemories

IMAGE_SHAPE = (1, 8, 8)


def images_of(label: int, count: int) -> Tensor:
    """The first images of a class: a stripe at its height, of any brightness, and a little noise."""
    generator = torch.Generator().manual_seed(label)
    images = 0.01 * torch.randn(5000, *IMAGE_SHAPE, generator=generator)
    images[:, :, 2 * label : 2 * label + 2] += torch.rand(5000, 1, 1, 1, generator=generator) + 0.5
    return images[:count]


def test_principal_bases_reproduce_images_as_well_as_the_truncated_svd() -> None:
    images = torch.randn(50, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bases = principal_bases(images, 5)
    left, values, right = torch.linalg.svd(images.flatten(1), full_matrices=False)
    best = left[:, :5] * values[:5] @ right[:5]
    torch.testing.assert_close(images.flatten(1) @ projection(bases) @ bases.flatten(1), best)
    torch.testing.assert_close(bases.flatten(1).square().mean(1), torch.ones(5, dtype=torch.float64))


def test_the_share_that_bases_reproduce() -> None:
    image = torch.tensor([3.0, 4.0], dtype=torch.float64).view(1, 1, 1, 2)
    first, second = torch.eye(2, dtype=torch.float64).view(2, 1, 1, 1, 2)
    assert reproduced_share(image, 7 * first) == pytest.approx(9 / 25)
    assert reproduced_share(image, torch.cat((first, second))) == pytest.approx(1)
    assert reproduced_share(0 * image, first) == 1


@pytest.mark.parametrize("zca", [None, 0.001])
@pytest.mark.parametrize("kind", ["labels", "images"])
def test_a_start_from_whitened_images_is_warned_of(
    zca: float | None, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = Digits(zca=zca)
    data.prepare_data()
    data.setup("fit")
    if kind == "labels":
        memory: Memory = AddressableMemory(data.image_shape, 10, 1, num_bases=4, init="data")
    else:
        features = partial(ConvNet, width=4, depth=1)
        memory = ImageAddressedMemory(
            data.image_shape, 10, features, query_dim=4, num_bases=4, num_slots=4, init="data"
        )
    memory.start_from(data.images_of)
    lines = [record.getMessage() for record in caplog.records if "worth little" in record.getMessage()]
    assert len(lines) == (zca is not None)
    if zca is not None:
        assert re.search(r"4 bases reproduce [1-4]?\d % of the images; leave data.zca out", lines[0])


def test_more_bases_than_pixels_or_images_are_finite_and_reproduce_all() -> None:
    images = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bases = principal_bases(images, 6)
    assert bases.shape == (6, 1, 2, 2)
    torch.testing.assert_close(images.flatten(1) @ projection(bases) @ bases.flatten(1), images.flatten(1))


def addressable() -> Memory:
    return AddressableMemory(IMAGE_SHAPE, 4, images_per_class=2, num_bases=4, init="data")


def pixel() -> Memory:
    return PixelMemory(IMAGE_SHAPE, 4, images_per_class=2, downsampling=2, init="data")


def tasks() -> Memory:
    return TaskMemories(
        IMAGE_SHAPE, ((2, 0), (1, 3)), lambda: AddressableMemory(IMAGE_SHAPE, 2, 2, num_bases=3, init="data")
    )


@pytest.mark.parametrize("make", [addressable, pixel, tasks])
def test_each_slot_recalls_an_image_of_its_class(make: type[Memory]) -> None:
    torch.manual_seed(0)
    memory = make()
    assert memory.starts_from_data
    memory.start_from(images_of)
    for label, recalled in enumerate(memory.recall(torch.arange(4))):
        shrunk = F.avg_pool2d(images_of(label, memory.num_slots), 2)
        expected = F.interpolate(shrunk, scale_factor=2, mode="bilinear", align_corners=False)
        assert (recalled - expected).square().mean() < 1e-3 < expected.square().mean()


def test_an_image_recalls_images_of_its_class() -> None:
    torch.manual_seed(0)

    def features(image_shape: tuple[int, int, int], width: int) -> ConvNet:
        return ConvNet(image_shape, width, width=16, depth=1)

    memory = ImageAddressedMemory(IMAGE_SHAPE, 4, features, query_dim=16, num_bases=4, num_slots=3, init="data")
    memory.start_from(images_of)
    means = torch.stack([images_of(label, 50).mean(0) for label in range(4)])
    for label in range(4):
        with torch.no_grad():
            recalled = memory.recall_images(images_of(label, 5)).flatten(0, 1)
        distances = (recalled[:, None] - means).flatten(2).norm(dim=2)
        assert (distances.argmin(1) == label).all()


@pytest.mark.parametrize("init", ["kaiming_uniform", "xavier_uniform"])
def test_the_papers_memories_start_at_random(init: str) -> None:
    assert not AddressableMemory(IMAGE_SHAPE, 4, 2, num_bases=4, init=init).starts_from_data  # type: ignore[arg-type]


def test_a_memory_without_such_a_start_says_so() -> None:
    class Own(AddressableMemory):
        start_from = Memory.start_from

    with pytest.raises(UserError, match="Own has no start from data"):
        Own(IMAGE_SHAPE, 4, 2, num_bases=4, init="data").start_from(images_of)


def test_images_of_a_class_are_its_own_training_images_always_the_same() -> None:
    data = Digits(seed=1)
    data.setup("fit")
    images, labels = data.train_set
    chosen = data.images_of(3, 20)
    assert torch.equal(chosen, data.images_of(3, 20))
    assert torch.equal(chosen[:5], data.images_of(3, 5))
    of_class = images[labels == 3].flatten(1)
    exact = "donot_use_mm_for_euclid_dist"
    assert (torch.cdist(chosen.flatten(1), of_class, compute_mode=exact).min(1).values == 0).all()
    assert len(chosen.flatten(1).unique(dim=0)) > 15
    number = len(of_class)
    assert torch.equal(data.images_of(3, 2 * number)[number:], data.images_of(3, number))  # all, and once more
