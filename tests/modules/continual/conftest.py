"""What the tests of the learners share: a network of one hidden layer, written out beside it, and minibatches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules import (
    AGEM,
    CMAML,
    ERACE,
    EWC,
    GEM,
    MER,
    MLP,
    AddressableMemory,
    CompressThenRecall,
    DarkExperienceReplay,
    ExperienceReplay,
    GDumb,
    HigherUnroll,
    LaMAML,
    Memory,
    Multitask,
    Online,
    SparseLaMAML,
    StableSGD,
)
from rtp.modules.networks.training import TrainingProtocol

SHAPE, CLASSES, TASKS = (1, 2, 3), 2, 3
Samples = tuple[Tensor, Tensor, Tensor]


def small_network(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, num_classes))


class ByHand:
    """Learners of three tasks with two classes each in float64, and the same network in plain formulae."""

    def __init__(self) -> None:
        self.own_heads = False
        self._generator = torch.Generator().manual_seed(1)

    def learner(self, kind: type[Any], own_heads: bool = False, **arguments: Any) -> Any:
        torch.manual_seed(0)
        self.own_heads = own_heads
        taken = {"image_shape": SHAPE, "num_classes": CLASSES, "total_classes": self.outputs, "num_tasks": TASKS}
        return kind(**taken, network=small_network, **arguments).double()

    def batch(self, task: int = 0, size: int = 4, replay: int = 0) -> StreamBatch:
        images = torch.randn(size, *SHAPE, generator=self._generator, dtype=torch.double)
        labels = torch.randint(CLASSES, (size,), generator=self._generator)
        return StreamBatch(images, labels, task, replay, last=False)

    @property
    def outputs(self) -> int:
        return CLASSES * (TASKS if self.own_heads else 1)

    def weights(self, learner: Any) -> Tensor:
        return torch.nn.utils.parameters_to_vector(learner.net.parameters()).detach().clone()

    def samples(self, *batches: StreamBatch | Samples) -> Samples:
        """Minibatches and drawn samples as one."""
        parts = [
            (batch.images, batch.labels, torch.full_like(batch.labels, batch.task))
            if isinstance(batch, StreamBatch)
            else batch
            for batch in batches
        ]
        images, labels, tasks = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return images, labels, tasks

    def logits(self, weights: Tensor, images: Tensor) -> Tensor:
        first, first_bias, second, second_bias = weights.split([24, 4, 4 * self.outputs, self.outputs])
        hidden = torch.tanh(images.flatten(1) @ first.view(4, 6).T + first_bias)
        return hidden @ second.view(self.outputs, 4).T + second_bias

    def loss(self, weights: Tensor, samples: Samples) -> Tensor:
        """The mean cross-entropy, each sample's over the classes of its own task."""
        images, labels, tasks = samples
        logits = self.logits(weights, images)
        losses = []
        for row, label, task in zip(logits, labels.tolist(), tasks.tolist(), strict=True):
            own = row[task * CLASSES : (task + 1) * CLASSES] if self.own_heads else row
            losses.append(own.logsumexp(0) - own[label])
        return torch.stack(losses).mean()

    def gradient(self, weights: Tensor, samples: Samples) -> Tensor:
        theta = weights.clone().requires_grad_()
        return torch.autograd.grad(self.loss(theta, samples), theta)[0]

    def ahead(self, theta: Tensor, rates: Tensor, batch: StreamBatch) -> list[Tensor]:
        """A step of each sample of a minibatch."""
        steps = []
        for images, labels, tasks in zip(*(tensor.split(1) for tensor in self.samples(batch)), strict=True):
            theta = theta - rates * self.gradient(theta, (images, labels, tasks))
            steps.append(theta)
        return steps

    def loss_ahead(self, theta: Tensor, rates: Tensor, batch: StreamBatch, outer: Samples) -> Tensor:
        """The mean loss of samples over these steps."""
        return torch.stack([self.loss(step, outer) for step in self.ahead(theta, rates, batch)]).mean()

    def by_differences(self, function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
        """The gradient by central differences."""
        step = 1e-6 * torch.eye(len(point), dtype=torch.double)
        return torch.stack([(function(point + e) - function(point - e)) / 2e-6 for e in step])


SINGLE_NETWORKS: list[tuple[type[Any], dict[str, Any]]] = [
    (Online, {}),
    (EWC, {"ewc_lambda": 2.0, "memory_images": 9}),
    (ExperienceReplay, {"memory_images": 9}),
    (GEM, {"margin": 0.1, "memory_images": 9}),
    (MER, {"batches_per_sample": 2, "batch_size": 3, "beta": 0.5, "gamma": 0.5, "memory_images": 9}),
    (CMAML, {"inner_learning_rate": 0.1, "second_order": False, "memory_images": 9}),
    (LaMAML, {"inner_learning_rate": 0.1, "second_order": True, "memory_images": 9}),
    (
        SparseLaMAML,
        {"inner_learning_rate": 0.1, "second_order": True, "initial_mask": 0.01, "memory_images": 9},
    ),
    (DarkExperienceReplay, {"alpha": 0.5, "beta": 0.5, "memory_images": 9}),
    (ERACE, {"memory_images": 9}),
    (AGEM, {"reference_samples": 4, "memory_images": 9}),
    (StableSGD, {"decay": 0.5}),
]
"""Every learner of one network that is updated on the stream, without the arguments that all have."""


def tiny_network(image_shape: tuple[int, int, int], num_classes: int) -> MLP:
    return MLP(image_shape, num_classes, hidden_width=3)


def tiny_memory(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
    return AddressableMemory(image_shape, num_classes, images_per_class, num_bases=2, downsampling=2)


def int8_memory(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
    sizes: dict[str, Any] = {"num_bases": 2, "downsampling": 2, "stored_as": "int8"}
    return AddressableMemory(image_shape, num_classes, images_per_class, **sizes)


OTHERS: list[tuple[type[Any], dict[str, Any]]] = [
    (Multitask, {"passes": 1, "batch_size": 10, "learning_rate": 0.1}),
    (
        CompressThenRecall,
        {
            "memory": tiny_memory,
            "unroll": HigherUnroll(1),
            "slots_per_class": 1,
            "reservoir_samples": 3,
            "memory_images": 22,
        },
    ),
    (GDumb, {"memory_images": 9, "protocol": TrainingProtocol(epochs=1)}),
]


EIGHT_BITS = [
    (
        kind,
        arguments | {"sample_bits": 8} | ({"memory": int8_memory} if "memory" in arguments else {"memory_images": 6}),
    )
    for kind, arguments in SINGLE_NETWORKS + OTHERS
    if kind in (AGEM, CompressThenRecall, DarkExperienceReplay, ExperienceReplay, GDumb)
]
"""A learner of each kind of store, in numbers of 8 bits; six images of digits have no room for all 24 samples."""


def named(learner: tuple[type[Any], dict[str, Any]]) -> str:
    return learner[0].__name__ + ("-8-bits" if "sample_bits" in learner[1] else "")


@pytest.fixture(params=SINGLE_NETWORKS, ids=named)
def single_network(request: pytest.FixtureRequest) -> tuple[type[Any], dict[str, Any]]:
    """A learner of one network and its own arguments."""
    kind, arguments = request.param
    return kind, {"learning_rate": 0.2} | arguments


@pytest.fixture(params=SINGLE_NETWORKS + OTHERS + EIGHT_BITS, ids=named)
def any_learner(request: pytest.FixtureRequest) -> tuple[type[Any], dict[str, Any]]:
    """Every learner that rtp has, and all its arguments but those that the stream gives."""
    kind, arguments = request.param
    rate = {"learning_rate": 0.2} if kind in [kind for kind, _ in SINGLE_NETWORKS] else {}
    return kind, {"network": tiny_network} | rate | arguments


@pytest.fixture
def by_hand() -> ByHand:
    return ByHand()
