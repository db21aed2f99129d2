"""An outer step waits for the device as often for a long inner loop as for a short one."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from rtp.modules import (
    MLP,
    AddressableMemory,
    ConvNet,
    FlipOrRotate,
    HigherUnroll,
    InnerSGD,
    MemoryDistillation,
    SpanUnroll,
    StepwiseUnroll,
)
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import Trainee, TrainingProtocol, train_networks
from rtp.modules.unroll.base import Unroll
from tests.pretended_gpu.device import COUNTS, pretended_gpu

SHAPE, CLASSES = (1, 8, 8), 3
CONVNET: NetworkFactory = partial(ConvNet, width=4, depth=1)
ENGINES: dict[str, tuple[Callable[[int], Unroll], NetworkFactory]] = {
    "higher": (HigherUnroll, CONVNET),
    "stepwise": (partial(StepwiseUnroll, compile=False), CONVNET),
    "kept": (partial(StepwiseUnroll, compile=False, activation_cache_gb=1.0), CONVNET),
    "span": (SpanUnroll, MLP),
}


def waits(engine: Callable[[int], Unroll], network: NetworkFactory, steps: int) -> int:
    """How often an outer step of so many inner steps waits."""
    with pretended_gpu() as gpu:
        augmentation = None if engine is SpanUnroll else FlipOrRotate()
        memory = partial(AddressableMemory, images_per_class=2, num_bases=4)
        module = MemoryDistillation(
            SHAPE, CLASSES, memory, network, engine(steps), 2, InnerSGD(0.01), augmentation=augmentation
        ).to(gpu)
        images, labels = torch.randn(12, *SHAPE, device=gpu), torch.arange(CLASSES, device=gpu).repeat(4)
        COUNTS.clear()
        module.outer_loss(images, labels).backward()
        assert COUNTS["operations"] > 20 * steps
        return COUNTS["waits"]


@pytest.mark.parametrize("name", ENGINES)
def test_no_inner_step_waits(name: str) -> None:
    engine, network = ENGINES[name]
    assert waits(engine, network, 2) == waits(engine, network, 6)


def test_no_step_of_retraining_waits() -> None:
    found = []
    for epochs in (1, 3):
        with pretended_gpu() as gpu:
            network = CONVNET(SHAPE, CLASSES).to(gpu)
            images, labels = torch.randn(12, *SHAPE, device=gpu), torch.arange(CLASSES, device=gpu).repeat(4)
            COUNTS.clear()
            train_networks([Trainee(network, images, labels, 0)], TrainingProtocol(epochs, 5), FlipOrRotate())
            found.append(COUNTS["waits"])
    assert found[0] == found[1]
