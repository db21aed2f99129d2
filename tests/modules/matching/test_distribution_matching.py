"""DM's module: its loss by hand, with either memory, and what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rtp.errors import UserError
from rtp.modules import AddressableMemory, ConvNet, DistributionMatching, FlipOrRotate, MemoryFactory, PixelMemory
from rtp.modules.augmentations.base import Augmentation

SHAPE, CLASSES = (1, 4, 4), 4


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


def pixels(image_shape: tuple[int, int, int], num_classes: int) -> PixelMemory:
    return PixelMemory(image_shape, num_classes, images_per_class=2)


def addressable(image_shape: tuple[int, int, int], num_classes: int) -> AddressableMemory:
    return AddressableMemory(image_shape, num_classes, images_per_class=2, num_bases=4)


def matching(memory: MemoryFactory = pixels, **options: Any) -> DistributionMatching:
    torch.manual_seed(0)
    module = DistributionMatching(
        slots_per_class=2, image_shape=SHAPE, num_classes=CLASSES, memory=memory, **{"network": network} | options
    )
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return module


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    # a subset of the labels
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, *SHAPE, generator=generator), torch.tensor([3, 1, 3, 1, 1, 3])


@pytest.mark.parametrize("memory", [pixels, addressable])
def test_a_step_compares_mean_features_of_a_fresh_network(memory: MemoryFactory, batch: tuple[Tensor, Tensor]) -> None:
    module = matching(memory)
    module.slots_per_class = module.memory.num_slots
    torch.manual_seed(5)
    loss = module.training_step(batch, 0)
    loss.backward()
    found = [parameter.grad for parameter in module.memory.parameters()]

    torch.manual_seed(5)
    features = network(SHAPE, CLASSES).features
    images, labels = batch
    expected = torch.zeros(())
    for label in (1, 3):
        recalled = features(module.memory.recall(torch.tensor([label]))[0])
        expected = expected + (recalled.mean(0) - features(images[labels == label]).mean(0)).pow(2).sum()
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(expected, list(module.memory.parameters()))
    torch.testing.assert_close(found, list(gradients))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_classes_that_were_not_sampled_are_left_alone(batch: tuple[Tensor, Tensor]) -> None:
    module = matching()
    module.training_step(batch, 0).backward()
    gradient = module.memory.bases.grad
    assert gradient is not None
    moved = gradient.flatten(1).abs().sum(1) > 0
    assert moved.tolist() == [False, False, True, True, False, False, True, True]


def test_every_step_has_another_network(batch: tuple[Tensor, Tensor]) -> None:
    module = matching()
    assert not torch.equal(module.outer_loss(*batch), module.outer_loss(*batch))


def test_steps_bring_the_features_closer(batch: tuple[Tensor, Tensor]) -> None:
    module = matching(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = module.outer_loss(*batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_augmentation_is_siamese_class_by_class(batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Tensor] = []
    original = FlipOrRotate.apply

    def record(self: FlipOrRotate, images: Tensor, parameters: Tensor) -> Tensor:
        applied.append(parameters)
        return original(self, images, parameters)

    monkeypatch.setattr(FlipOrRotate, "apply", record)
    augmentation: Augmentation = FlipOrRotate()
    matching(augmentation=augmentation).outer_loss(*batch)
    recalled, real = applied
    assert torch.equal(recalled[0], recalled[1])
    assert torch.equal(recalled[2], recalled[3])
    assert not torch.equal(recalled[0], recalled[2])
    assert torch.equal(real, recalled[[2, 0, 2, 0, 0, 2]])  # classes 3 1 3 1 1 3


def test_the_outer_optimizer_has_the_authors_values() -> None:
    optimizer = matching().configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (1.0, 0.5)


class Plain(nn.Sequential):
    """A network that does not say what its features are."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, num_classes))


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"^slots_per_class must be at least 1, got 0"):
        DistributionMatching(0, image_shape=SHAPE, num_classes=CLASSES, memory=pixels, network=network)
    with pytest.raises(UserError, match=r"^DistributionMatching needs a network with `features`.*: Plain has none$"):
        matching(network=Plain)
