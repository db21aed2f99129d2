"""Training of fresh networks: against a loop written out, vmapped against one by one."""

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules.augmentations.siamese import FlipOrRotate
from rtp.modules.networks import MLP, ConvNet, ResNet12
from rtp.modules.networks.training import (
    Trainee,
    TrainingProtocol,
    isolated_rng,
    train_networks,
    vmap_pays,
)
from rtp.utils.seeds import derived_seed

BOTH_WAYS = pytest.mark.parametrize("vmapped", [False, True])


def linear() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()


def trainees(make: Callable[[], nn.Module], count: int, num_images: int = 5, size: int = 8) -> list[Trainee]:
    """Networks with random images of their own; number i is the same whatever the count."""
    made = []
    for number in range(count):
        with isolated_rng(number):
            images = torch.randn(num_images, 3, size, size, dtype=torch.float64)
            labels = torch.randint(0, 4, (num_images,))
            made.append(Trainee(make().double(), images, labels, seed=number))
    return made


def weights(networks: list[nn.Module]) -> list[Tensor]:
    return [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in networks]


@BOTH_WAYS
def test_training_is_sgd_with_momentum_over_shuffled_minibatches(vmapped: bool) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(5, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    protocol = TrainingProtocol(epochs=3, batch_size=2, learning_rate=0.1, momentum=0.8)

    (trained,) = train_networks([Trainee(linear(), images, labels, seed=7)], protocol, vmapped=vmapped)

    expected = linear()
    generator = torch.Generator().manual_seed(derived_seed(7, 0))
    velocity = [torch.zeros_like(p) for p in expected.parameters()]
    for _ in range(3):
        for batch in torch.randperm(5, generator=generator).split(2):
            loss = F.cross_entropy(expected(images[batch]), labels[batch])
            gradients = torch.autograd.grad(loss, list(expected.parameters()))
            for p, v, g in zip(expected.parameters(), velocity, gradients, strict=True):
                v.mul_(0.8).add_(g)
                p.data -= 0.1 * v
    for p, q in zip(trained.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@BOTH_WAYS
def test_weight_decay_and_a_drop_of_the_rate_are_those_of_torch(vmapped: bool) -> None:
    protocol = TrainingProtocol(5, 2, learning_rate=0.2, momentum=0.8, weight_decay=0.03, drop_after=0.4)

    def few() -> list[Trainee]:
        return trainees(lambda: ConvNet((3, 8, 8), 4, width=3, depth=1), 2)

    expected = few()
    for trainee in expected:
        network = trainee.network
        optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.8, weight_decay=0.03)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2], gamma=0.1)
        generator = torch.Generator().manual_seed(derived_seed(trainee.seed, 0))
        for _ in range(5):
            for batch in torch.randperm(5, generator=generator).split(2):
                optimizer.zero_grad()
                F.cross_entropy(network(trainee.images[batch]), trainee.labels[batch]).backward()
                optimizer.step()
            scheduler.step()
    trained = weights(train_networks(few(), protocol, vmapped=vmapped))
    torch.testing.assert_close(trained, weights([t.network for t in expected]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: ConvNet((3, 8, 8), 4, width=5, depth=2), 8),
        (lambda: MLP((3, 8, 8), 4, hidden_width=6), 8),
        (lambda: ResNet12((3, 16, 16), 4, widths=(2, 3, 2, 3)), 16),
    ],
    ids=["ConvNet", "MLP", "ResNet12"],
)
def test_vmapped_is_one_by_one(make: Callable[[], nn.Module], size: int) -> None:
    protocol = TrainingProtocol(epochs=4, batch_size=2, learning_rate=0.05)  # minibatches of 2, 2 and 1

    def trained(vmapped: bool) -> list[Tensor]:
        return weights(train_networks(trainees(make, 3, size=size), protocol, FlipOrRotate(30.0), vmapped))

    before = weights([t.network for t in trainees(make, 3, size=size)])
    alone = trained(vmapped=False)
    torch.testing.assert_close(trained(vmapped=True), alone, rtol=0, atol=1e-10)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(alone, before, strict=True))


@BOTH_WAYS
def test_a_network_does_not_depend_on_how_many_others_there_are(vmapped: bool) -> None:
    def trained(chosen: slice) -> list[Tensor]:
        few = trainees(lambda: ConvNet((3, 8, 8), 4, width=3, depth=1), 4)[chosen]
        return weights(train_networks(few, TrainingProtocol(3, 2), FlipOrRotate(), vmapped))

    torch.testing.assert_close(trained(slice(2, 4)), trained(slice(0, 4))[2:], rtol=0, atol=1e-10)


def dropped() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 8 * 8, 4))


def normalised() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 8 * 8, 4))


def half_frozen() -> nn.Module:
    network = MLP((3, 8, 8), 4, hidden_width=3)
    network.features.requires_grad_(False)
    return network


class Faulty(nn.Linear):
    """Fails as a network does on a GPU that has failed."""

    def forward(self, images: Tensor) -> Tensor:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure", 719)


def test_a_fault_of_the_device_is_not_taken_for_one_of_vmap() -> None:
    faulty = trainees(lambda: nn.Sequential(nn.Flatten(), Faulty(3 * 8 * 8, 4)), 2)
    with pytest.raises(torch.AcceleratorError, match="launch failure"):
        train_networks(faulty, TrainingProtocol(epochs=1, batch_size=3), vmapped=True)


@pytest.mark.parametrize("make", [dropped, normalised, half_frozen])
def test_networks_that_cannot_be_stacked_are_trained_one_by_one(
    make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    protocol = TrainingProtocol(epochs=2, batch_size=3)
    with caplog.at_level(logging.WARNING):
        fallen_back = train_networks(trainees(make, 3), protocol, vmapped=True)
    assert len(caplog.records) == (make is dropped)  # the one case that only vmap finds
    alone = train_networks(trainees(make, 3), protocol, vmapped=False)
    for network, other in zip(fallen_back, alone, strict=True):
        for value, expected in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(value, expected)
    (last,) = train_networks(trainees(make, 3)[2:], protocol)
    assert torch.equal(weights([last])[0], weights(alone)[2])


def test_sets_of_different_sizes_are_trained_on_one_by_one() -> None:
    def mixed() -> list[Trainee]:
        return [*trainees(normal_mlp, 1, num_images=4), *trainees(normal_mlp, 1, num_images=6)]

    def normal_mlp() -> nn.Module:
        return MLP((3, 8, 8), 4, hidden_width=3)

    protocol = TrainingProtocol(epochs=2)
    stacked, alone = (weights(train_networks(mixed(), protocol, vmapped=vmapped)) for vmapped in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(stacked, alone, strict=True))


@BOTH_WAYS
def test_global_randomness_is_untouched(vmapped: bool) -> None:
    few = trainees(lambda: MLP((3, 8, 8), 4, hidden_width=3), 2)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_networks(few, TrainingProtocol(2, 2), FlipOrRotate(), vmapped)
    assert torch.equal(torch.rand(1), expected)


@BOTH_WAYS
def test_training_works_where_gradients_are_off_and_ends_in_evaluation_mode(vmapped: bool) -> None:
    images, labels = torch.randn(6, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    few = [Trainee(linear(), images, labels, seed) for seed in range(3)]
    epochs: list[None] = []
    with torch.no_grad():
        networks = train_networks(
            few, TrainingProtocol(epochs=4), vmapped=vmapped, on_epoch=lambda: epochs.append(None)
        )
    assert not any(network.training for network in networks)
    assert len(epochs) == 3 * 4
    assert not torch.equal(networks[0][1].weight, linear()[1].weight)  # type: ignore[index]


@pytest.mark.parametrize(
    ("count", "num_images", "side", "batch_size", "expected"),
    [
        (8, 32, 8, 640, True),
        (7, 32, 8, 640, False),
        (8, 33, 8, 640, False),
        (8, 33, 8, 32, True),
        (8, 10, 32, 640, False),
        (8, 2, 32, 640, True),
    ],
)
def test_many_networks_with_small_minibatches_are_vmapped(
    count: int, num_images: int, side: int, batch_size: int, expected: bool
) -> None:
    many = [Trainee(linear(), torch.zeros(num_images, 3, side, side), torch.zeros(num_images), 0)] * count
    assert vmap_pays(many, TrainingProtocol(batch_size=batch_size)) is expected


def test_streams_of_different_places_differ() -> None:
    places = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    assert len({derived_seed(seed, *place) for seed in (-1, 0, 1) for place in places}) == 3 * len(places)
    assert derived_seed(0, 2, 1) == derived_seed(0, 2, 1)


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

    train_networks([Trainee(Recorder(), images, labels, 0)], TrainingProtocol(epochs=1), FlipOrRotate(45.0))
    assert len({tuple(image.flatten().tolist()) for image in seen[0]}) > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
        ({"momentum": -0.1}, r"momentum must lie in \[0, 1\), got -0.1"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"weight_decay": math.nan}, "weight_decay must be at least 0, got nan"),
        ({"drop_after": 0}, r"drop_after must lie in \(0, 1\], got 0"),
        ({"drop_after": 1.5}, r"drop_after must lie in \(0, 1\], got 1.5"),
    ],
)
def test_values_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainingProtocol(**arguments)


@pytest.mark.parametrize("vmapped", [None, True, False])
def test_a_process_without_networks_trains_none(vmapped: bool | None) -> None:
    assert train_networks([], TrainingProtocol(epochs=2), None, vmapped) == []
