"""An outer step of compress-then-recall on a stream of MNIST, whose network is an MLP, with each exact engine."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.engines import relative_error
from benchmarks.machine import interleaved, medians
from rtp.modules import MLP, AddressableMemory, HigherUnroll, InnerSGD, SpanUnroll, StepwiseUnroll, Unroll
from rtp.modules.distillation.memory_distillation import recalled_episode

SHAPE, CLASSES = (1, 28, 28), 10
MEMORIES = {"permutations, 8 bases": (8, 1), "rotations, 24 bases": (24, 2)}
"""Bases and downsampling of memories of ten images a task (table 5)."""
STEPWISE = "stepwise_compiled_kept"
SLOTS, REAL = 10, 40
"""As in `configs/continual/cpu/`: images of each class in an inner minibatch, real images of the outer loss."""


def streams(
    rounds: int, device: torch.device, steps: tuple[int, ...], compiled: bool = True
) -> dict[str, dict[str, float]]:
    """Seconds of an outer step with each engine, in turn, and the error of the gradient against `HigherUnroll`'s.

    Args:
        rounds: Times that each is measured; the median counts.
        device: Where.
        steps: Inner steps T, one case each.
        compiled: Whether the stepwise engine is measured, too.
    """
    result = {}
    for name, sizes in MEMORIES.items():
        for num_steps in steps:
            engines: dict[str, Unroll] = {"higher": HigherUnroll(num_steps), "span": SpanUnroll(num_steps)}
            if compiled:
                engines[STEPWISE] = StepwiseUnroll(num_steps, activation_cache_gb=1)
            functions = {key: outer_step(*sizes, engine, device) for key, engine in engines.items()}
            gradients = {key: function() for key, function in functions.items()}  # compiles
            middle = medians(interleaved(functions, rounds, device))
            result[f"{name}, T {num_steps}"] = {
                **{f"seconds_{key}": value for key, value in middle.items()},
                "relative_error_of_gradient": relative_error(gradients["span"], gradients["higher"]),
                "speedup_span_vs_higher": middle["higher"] / middle["span"],
                **({"speedup_span_vs_stepwise": middle[STEPWISE] / middle["span"]} if compiled else {}),
            }
    return result


def outer_step(num_bases: int, downsampling: int, engine: Unroll, device: torch.device) -> Callable[[], Tensor]:
    """A function that recalls images, unrolls the inner loop and returns the gradient with respect to the memory."""
    torch.manual_seed(0)
    with device:
        memory = AddressableMemory(SHAPE, CLASSES, 1, num_bases=num_bases, downsampling=downsampling)
        real = torch.randn(REAL, *SHAPE), torch.arange(REAL) % CLASSES
        classes = torch.arange(CLASSES)

    def run() -> Tensor:
        torch.manual_seed(1)
        with device:
            network = MLP(SHAPE, CLASSES)
        episode = recalled_episode(memory, classes, real, SLOTS, engine.num_steps, None)
        loss = engine.meta_loss(network, InnerSGD(), episode)
        parts = torch.autograd.grad(loss, list(memory.parameters()))
        return torch.cat([part.flatten() for part in parts])

    return run
