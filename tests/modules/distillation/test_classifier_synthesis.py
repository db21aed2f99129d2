"""What the modules of section 5.3 share: networks of k outputs, whatever the data set has, and its data."""

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules import ConvNet, HigherUnroll, PixelMemory
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.unroll.base import Episode


class FirstTwo(ClassifierSynthesis):
    """Trains a network for the first two classes, whatever the batch."""

    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        images = self.memory.recall(torch.arange(2)).flatten(0, 1)
        return Episode(images, torch.arange(2), torch.tensor([[0, 1]]), real_images, real_labels), 2


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


@pytest.fixture
def module() -> FirstTwo:
    return FirstTwo((1, 4, 4), 6, lambda shape, classes: PixelMemory(shape, classes, 1), network, HigherUnroll(1), 1)


def test_the_network_of_an_episode_has_an_output_a_class(module: FirstTwo, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = []
    meta_loss = HigherUnroll.meta_loss

    def record(self: HigherUnroll, network: ConvNet, *rest: Any) -> Tensor:
        outputs.append(network.classifier.out_features)
        return meta_loss(self, network, *rest)

    monkeypatch.setattr(HigherUnroll, "meta_loss", record)
    module.outer_loss(torch.randn(3, 1, 4, 4), torch.tensor([0, 1, 1])).backward()
    assert outputs == [2]
    grad = module.memory.bases.grad
    assert grad is not None
    assert [bool(part.abs().max() > 0) for part in grad] == [True, True, False, False, False, False]


def test_the_name_of_an_architecture_costs_no_random_numbers(module: FirstTwo) -> None:
    before = torch.get_rng_state()
    assert module.architecture_name(network) == "ConvNet"
    assert torch.equal(torch.get_rng_state(), before)


def test_data_of_another_kind_are_refused(module: FirstTwo) -> None:
    class Other:
        datamodule = L.LightningDataModule()

    module._trainer = Other()  # type: ignore[assignment]
    with pytest.raises(UserError, match="FirstTwo needs an ImageDataModule, got LightningDataModule"):
        module.data()
