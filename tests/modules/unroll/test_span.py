"""The engine in the bases' span against `HigherUnroll`, which differentiates the same loop at full width."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rtp.errors import UserError
from rtp.modules import (
    MLP,
    AddressableMemory,
    ConvNet,
    FlipOrRotate,
    HigherUnroll,
    InnerAdam,
    InnerOptimizer,
    InnerSGD,
    Memory,
    PixelMemory,
    SpanUnroll,
    Unroll,
)
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.memory_distillation import recalled_episode
from rtp.modules.unroll.base import Episode

SHAPE, CLASSES, STEPS = (2, 8, 8), 3, 6

MEMORIES: dict[str, Callable[[], AddressableMemory]] = {
    "full size": lambda: AddressableMemory(SHAPE, CLASSES, 2, num_bases=4, downsampling=1),
    "upsampled": lambda: AddressableMemory(SHAPE, CLASSES, 2, num_bases=5),
    "int8": lambda: AddressableMemory(SHAPE, CLASSES, 2, num_bases=6, stored_as="int8"),
    "a learned rate": lambda: AddressableMemory(SHAPE, CLASSES, 2, num_bases=5, learned_rate=True),
}


def episode_of(memory: Memory, augmentation: Augmentation | None = None) -> Episode:
    """An episode of two of the three classes, drawn the same way at every call."""
    torch.manual_seed(3)
    real = torch.randn(7, *SHAPE, dtype=torch.float64), torch.tensor([0, 2, 0, 2, 0, 2, 2])
    return recalled_episode(memory, torch.tensor([0, 2]), real, 3, STEPS, augmentation)


def gradients(unroll: Unroll, memory: Memory, network: nn.Module, rule: InnerOptimizer) -> tuple[Tensor, list[Tensor]]:
    """The meta-loss and its gradients for the memory's parameters."""
    loss = unroll.meta_loss(network, rule, episode_of(memory))
    return loss.detach(), list(torch.autograd.grad(loss, list(memory.parameters())))


def assert_equal_to_higher(memory: Memory, network: nn.Module, rule: InnerOptimizer) -> None:
    loss, found = gradients(SpanUnroll(STEPS), memory, network, rule)
    expected_loss, expected = gradients(HigherUnroll(STEPS), memory, network, rule)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm()


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("momentum", ["none", "full"])
def test_loss_and_gradient_are_those_of_higher(momentum: str, depth: int, memory: str) -> None:
    torch.manual_seed(0)
    network = MLP(SHAPE, CLASSES, hidden_width=9, depth=depth).double()
    assert_equal_to_higher(MEMORIES[memory]().double(), network, InnerSGD(0.2, 0.9, momentum))  # type: ignore[arg-type]


def test_dropout_draws_as_in_higher() -> None:
    torch.manual_seed(0)
    network = MLP(SHAPE, CLASSES, hidden_width=9, dropout=0.5).double()
    assert_equal_to_higher(MEMORIES["full size"]().double(), network, InnerSGD(0.2))


@pytest.mark.parametrize("difference", [0.0, 1e-12, 1e-5, 0.1, 3.0])
def test_bases_may_be_dependent_or_nearly_so(difference: float) -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["full size"]().double(), MLP(SHAPE, CLASSES, hidden_width=9).double()
    with torch.no_grad():
        memory._bases[3] = memory._bases[:3].sum(dim=0) + difference * torch.randn(SHAPE, dtype=torch.float64)
    assert_equal_to_higher(memory, network, InnerSGD(0.2))


def test_bases_that_are_zero_are_dependent() -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["full size"]().double(), MLP(SHAPE, CLASSES, hidden_width=9).double()
    nn.init.zeros_(memory._bases)
    assert_equal_to_higher(memory, network, InnerSGD(0.2))


def test_single_precision_is_as_good_as_that_of_higher() -> None:
    torch.manual_seed(0)
    memory, network = AddressableMemory((1, 28, 28), 10, 1, num_bases=8, downsampling=1), MLP((1, 28, 28), 10)
    real, rule = (torch.randn(40, 1, 28, 28), torch.randint(10, (40,))), InnerSGD(0.2)

    def gradient_of(unroll: Unroll, dtype: torch.dtype) -> Tensor:
        memory.to(dtype)
        network.to(dtype)
        torch.manual_seed(1)
        episode = recalled_episode(memory, torch.arange(10), (real[0].to(dtype), real[1]), 10, 10, None)
        loss = unroll.meta_loss(network, rule, episode)
        parts = torch.autograd.grad(loss, list(memory.parameters()))
        return torch.cat([part.flatten() for part in parts]).double()

    exact = gradient_of(HigherUnroll(10), torch.float64)
    error_of_higher, error = (
        (gradient_of(unroll, torch.float32) - exact).norm() / exact.norm()
        for unroll in (HigherUnroll(10), SpanUnroll(10))
    )
    assert error < 3 * error_of_higher + 1e-6


def test_the_loop_takes_a_fraction_of_the_operations() -> None:
    memory, network = AddressableMemory((1, 28, 28), 10, 1, num_bases=8, downsampling=1), MLP((1, 28, 28), 10)
    real = torch.randn(40, 1, 28, 28), torch.randint(10, (40,))
    counts = []
    for unroll in (HigherUnroll(10), SpanUnroll(10)):
        episode = recalled_episode(memory, torch.arange(10), real, 10, 10, None)
        with FlopCounterMode(display=False) as counter:
            unroll.meta_loss(network, InnerSGD(0.2), episode).backward()
        counts.append(counter.get_total_flops())
    assert counts[0] > 20 * counts[1]


@pytest.mark.parametrize(
    ("network", "rule", "memory", "augmentation", "message"),
    [
        (
            ConvNet(SHAPE, CLASSES, width=4, depth=1),
            InnerSGD(),
            "addressable",
            None,
            "SpanUnroll needs an MLP, and.*ConvNet",
        ),
        (MLP(SHAPE, CLASSES), InnerAdam(), "addressable", None, "needs InnerSGD with momentum_mode full or none"),
        (MLP(SHAPE, CLASSES), InnerSGD(0.1, 0.9, "forward_only"), "addressable", None, "momentum_mode full or none"),
        (MLP(SHAPE, CLASSES), InnerSGD(), "pixel", None, "recalled by labels from bases"),
        (MLP(SHAPE, CLASSES), InnerSGD(), "addressable", FlipOrRotate(), "without augmentation"),
    ],
    ids=["network", "rule", "momentum", "memory", "augmentation"],
)
def test_what_does_not_stay_in_the_span_is_refused(
    network: nn.Module, rule: InnerOptimizer, memory: str, augmentation: Augmentation | None, message: str
) -> None:
    stored: Memory = PixelMemory(SHAPE, CLASSES, 2) if memory == "pixel" else MEMORIES["upsampled"]()
    episode = episode_of(stored.double(), augmentation)
    with pytest.raises(UserError, match=message):
        SpanUnroll(STEPS).meta_loss(network.double(), rule, episode)
    with pytest.raises(UserError, match="num_steps"):
        SpanUnroll(0)
