"""Loops and windows that grow over outer steps."""

import pytest
import torch

from rtp.errors import UserError
from rtp.modules import ConvNet, HigherUnroll, InnerSGD, LastSteps, MemoryDistillation, PixelMemory, StepwiseUnroll
from rtp.modules.unroll.base import Episode, Unroll
from rtp.modules.unroll.growth import Growth


def test_the_loop_and_its_window_grow_linearly_to_the_engine_s_own() -> None:
    unroll = StepwiseUnroll(10, LastSteps(6))
    growth = Growth(4, first_num_steps=6, first_window=2)
    found = [growth.at(unroll, step) for step in range(6)]
    assert [now.num_steps for now in found] == [6, 7, 8, 9, 10, 10]
    windows = [now.window for now in found if isinstance(now, StepwiseUnroll)]
    assert windows == [LastSteps(size) for size in (2, 3, 4, 5, 6, 6)]
    assert [Growth(3, first_num_steps=1).at(HigherUnroll(2), step) for step in (0, 1, 2, 3)] == [
        *(HigherUnroll(1), HigherUnroll(1), HigherUnroll(2), HigherUnroll(2))
    ]


@pytest.mark.parametrize(
    ("growth", "unroll", "message"),
    [
        (Growth(5, first_num_steps=11), HigherUnroll(10), "first_num_steps must be in 1 to 10, .* and is 11"),
        (Growth(5, first_num_steps=0), HigherUnroll(10), "first_num_steps must be in 1 to 10, .* and is 0"),
        (Growth(5, first_window=2), HigherUnroll(10), "first_window needs StepwiseUnroll with a window"),
        (Growth(5, first_window=2), StepwiseUnroll(10), "first_window needs StepwiseUnroll with a window"),
        (Growth(5, first_num_steps=3), StepwiseUnroll(10, LastSteps(4)), "a window of 4 steps does not fit"),
    ],
)
def test_what_does_not_fit_the_engine_is_refused_before_the_first_step(
    growth: Growth, unroll: Unroll, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        distillation(unroll, growth)


def test_growth_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="growth has neither first_num_steps nor first_window"):
        Growth(5)
    with pytest.raises(UserError, match="outer_steps must be at least 1, got 0"):
        Growth(0, first_num_steps=1)


def distillation(unroll: Unroll, growth: Growth) -> MemoryDistillation:
    def memory(shape: tuple[int, int, int], classes: int) -> PixelMemory:
        return PixelMemory(shape, classes, 1)

    def network(shape: tuple[int, int, int], outputs: int) -> ConvNet:
        return ConvNet(shape, outputs, width=2, depth=1)

    return MemoryDistillation((1, 4, 4), 2, memory, network, unroll, 1, InnerSGD(), growth=growth)


def test_a_step_has_the_loop_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, int]] = []
    original = HigherUnroll.meta_loss

    def record(self: HigherUnroll, network: torch.nn.Module, optimizer: InnerSGD, episode: Episode) -> torch.Tensor:
        used.append((self.num_steps, len(episode.minibatches)))
        return original(self, network, optimizer, episode)

    monkeypatch.setattr(HigherUnroll, "meta_loss", record)
    module = distillation(HigherUnroll(3), Growth(2, first_num_steps=1))
    for step in range(4):
        monkeypatch.setattr(type(module), "_steps_done", step)
        module.outer_loss(torch.randn(2, 1, 4, 4), torch.tensor([0, 1]))
    assert used == [(1, 1), (2, 2), (3, 3), (3, 3)]
