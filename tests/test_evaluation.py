"""Training of fresh networks: against a loop written out, and the draw of real images."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.evaluation import TrainingProtocol, random_real_images, train_network
from rtp.modules.augmentation import FlipOrRotate


def linear() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()


def test_training_is_sgd_with_momentum_over_shuffled_minibatches() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(5, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    protocol = TrainingProtocol(epochs=3, batch_size=2, learning_rate=0.1, momentum=0.8)

    trained = train_network(linear(), images, labels, protocol)

    expected = linear()
    torch.manual_seed(5)  # as `linear` leaves the generator
    linear()
    velocity = [torch.zeros_like(p) for p in expected.parameters()]
    for _ in range(3):
        for batch in torch.randperm(5).split(2):
            loss = F.cross_entropy(expected(images[batch]), labels[batch])
            gradients = torch.autograd.grad(loss, list(expected.parameters()))
            for p, v, g in zip(expected.parameters(), velocity, gradients, strict=True):
                v.mul_(0.8).add_(g)
                p.data -= 0.1 * v
    for p, q in zip(trained.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_training_works_where_gradients_are_off_and_ends_in_evaluation_mode() -> None:
    images, labels = torch.randn(6, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    epochs: list[None] = []
    with torch.no_grad():
        network = train_network(
            linear(), images, labels, TrainingProtocol(epochs=4), on_epoch=lambda: epochs.append(None)
        )
    assert not network.training
    assert len(epochs) == 4
    assert not torch.equal(network[1].weight, linear()[1].weight)  # type: ignore[index]


def test_augmentation_is_drawn_for_every_image() -> None:
    images, labels = torch.ones(8, 1, 2, 2), torch.zeros(8, dtype=torch.long)
    seen = []

    class Recorder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(2))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(inputs)
            return self.bias.expand(len(inputs), 2)

    torch.manual_seed(0)
    train_network(Recorder(), images, labels, TrainingProtocol(epochs=1), FlipOrRotate(45.0))
    assert len({tuple(image.flatten().tolist()) for image in seen[0]}) > 2


def test_random_real_images_are_balanced_and_distinct() -> None:
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 4)
    images = torch.arange(12.0)[:, None, None, None]
    torch.manual_seed(0)
    drawn, answers = random_real_images(images, labels, 3)
    assert answers.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert torch.equal(labels[drawn.flatten().long()], answers)
    assert len(set(drawn.flatten().tolist())) == 9
    again, _ = random_real_images(images, labels, 3)
    assert not torch.equal(drawn, again)


def test_a_class_with_too_few_images_is_named() -> None:
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(UserError, match=re.escape("class 1 has 1 images, fewer than the 2")):
        random_real_images(torch.zeros(3, 1, 1, 1), labels, 2)


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"batch_size": 0}])
def test_values_out_of_range_are_refused(arguments: dict[str, int]) -> None:
    name = next(iter(arguments))
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        TrainingProtocol(**arguments)
