"""Stores in 8 bits a number: what is kept of an image, and what it costs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.continual.stores.base import SampleStore, as_levels, from_levels, sample_bytes
from rtp.modules.continual.stores.class_balanced import ClassBalancedStore
from rtp.modules.continual.stores.logit_reservoir import LogitReservoir
from rtp.modules.continual.stores.reservoir import Reservoir
from rtp.modules.continual.stores.task_rings import TaskRings

SHAPE = (2, 3, 4)
STORES: dict[str, Callable[[], SampleStore]] = {
    "reservoir": lambda: Reservoir(6, SHAPE, bits=8),
    "class_balanced": lambda: ClassBalancedStore(6, SHAPE, num_classes=10, bits=8),
    "logit_reservoir": lambda: LogitReservoir(6, SHAPE, outputs=5, bits=8),
    "task_rings": lambda: TaskRings(6, 1, SHAPE, bits=8),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> SampleStore:
    return STORES[request.param]()


def add(store: SampleStore, images: Tensor, labels: Tensor) -> None:
    if isinstance(store, TaskRings):
        store.add(StreamBatch(images, labels, 0, 0, False))
    elif isinstance(store, LogitReservoir):
        store.add_with_logits(images, labels, 0, torch.zeros(len(labels), 5))
    elif isinstance(store, Reservoir | ClassBalancedStore):
        store.add(images, labels, 0)


def content(store: SampleStore) -> tuple[Tensor, Tensor]:
    if isinstance(store, TaskRings):
        return store.content(0)
    assert isinstance(store, Reservoir | ClassBalancedStore)
    return store.content()[:2]


def test_levels_by_hand() -> None:
    # steps of 2 / 255 from -1 to 1, then a plain channel
    images = torch.tensor([[-1.0, 1.0, 0.2, -1 + 2.9 / 255], [3.0, 3.0, 3.0, 3.0]]).view(1, 2, 2, 2)
    levels, ranges = as_levels(images)
    assert levels.flatten().tolist() == [0, 255, 153, 1, 0, 0, 0, 0]
    assert ranges.tolist() == [[[-1, 1], [3, 3]]]
    expected = torch.tensor([[-1.0, 1.0, 0.2, -1 + 2 / 255], [3.0, 3.0, 3.0, 3.0]]).view(1, 2, 2, 2)
    torch.testing.assert_close(from_levels(levels, ranges), expected)


def test_a_normalised_image_of_8_bits_loses_nothing() -> None:
    torch.manual_seed(0)
    darkest = torch.randint(100, (50, 3, 1, 1))
    pixels = darkest + (torch.rand(50, 3, 8, 8) * torch.randint(1, 156, (50, 3, 1, 1))).round()
    mean, std = torch.tensor([0.5, 0.1, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.01]).view(3, 1, 1)
    kept = from_levels(*as_levels((pixels / 255 - mean) / std))
    assert torch.equal(((kept * std + mean) * 255).round(), pixels)


def test_a_store_keeps_each_image_to_half_a_level(store: SampleStore) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(40, *SHAPE) * torch.tensor([1.0, 20.0]).view(2, 1, 1), torch.arange(40) % 10
    images[:, 0, 0, 0] = torch.arange(40.0) + 100  # the largest number, kept exactly, says which image it is
    for part in range(0, 40, 8):
        add(store, images[part : part + 8], labels[part : part + 8])
    held, held_labels = content(store)
    assert len(store) == len(held) == 6
    number = held[:, 0, 0, 0].sub(100).round().long()
    assert len(number.unique()) == 6
    assert torch.equal(labels[number], held_labels)
    half = (images[number].amax((2, 3), keepdim=True) - images[number].amin((2, 3), keepdim=True)) / 255 / 2
    assert ((held - images[number]).abs() <= half * 1.001).all()
    assert (held != images[number]).any()


def test_it_costs_a_byte_a_number_and_the_ranges(store: SampleStore) -> None:
    each = 2 * 3 * 4 + 2 * 2 * 4 + (5 * 4 if isinstance(store, LogitReservoir) else 0)
    add(store, torch.randn(3, *SHAPE), torch.arange(3))
    assert (store.bytes_per_sample, store.storage_bytes) == (each, 3 * each)
    assert store.images.nbytes + store.ranges.nbytes == 6 * sample_bytes(SHAPE, 8) == 6 * 40
    assert sample_bytes(SHAPE, 32) == 96


def test_what_a_reservoir_gives_up_is_gone_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    reservoir = Reservoir(6, SHAPE, bits=8)
    images = torch.randn(6, *SHAPE)
    reservoir.add(images, torch.arange(6), 0)
    reservoir.shrink(2)
    kept, labels, _ = reservoir.content()
    torch.testing.assert_close(kept, from_levels(*as_levels(images[labels])))
    assert reservoir.images[2:].count_nonzero() == reservoir.ranges[2:].count_nonzero() == 0
    torch.testing.assert_close(reservoir.sample(2)[0].sum(), kept.sum())


def test_it_goes_on_from_its_state(store: SampleStore, request: pytest.FixtureRequest) -> None:
    add(store, torch.randn(4, *SHAPE), torch.arange(4))
    other = STORES[request.node.callspec.params["store"]]()
    other.load_state_dict(store.state_dict())
    for one, same in zip(content(store), content(other), strict=True):
        assert torch.equal(one, same)


def test_other_numbers_of_bits_are_refused() -> None:
    with pytest.raises(UserError, match="sample_bits is 16: use 8 or 32"):
        Reservoir(3, SHAPE, bits=16)  # type: ignore[arg-type]
