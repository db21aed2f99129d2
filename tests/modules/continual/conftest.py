"""What the tests of the learners share: a network of one hidden layer, written out beside it, and minibatches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rtp.datamodules.streams.base import StreamBatch

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

    def loss(self, weights: Tensor, samples: Samples) -> Tensor:
        """The mean cross-entropy, each sample's over the classes of its own task."""
        images, labels, tasks = samples
        first, first_bias, second, second_bias = weights.split([24, 4, 4 * self.outputs, self.outputs])
        hidden = torch.tanh(images.flatten(1) @ first.view(4, 6).T + first_bias)
        logits = hidden @ second.view(self.outputs, 4).T + second_bias
        losses = []
        for row, label, task in zip(logits, labels.tolist(), tasks.tolist(), strict=True):
            own = row[task * CLASSES : (task + 1) * CLASSES] if self.own_heads else row
            losses.append(own.logsumexp(0) - own[label])
        return torch.stack(losses).mean()

    def gradient(self, weights: Tensor, samples: Samples) -> Tensor:
        theta = weights.clone().requires_grad_()
        return torch.autograd.grad(self.loss(theta, samples), theta)[0]


@pytest.fixture
def by_hand() -> ByHand:
    return ByHand()
