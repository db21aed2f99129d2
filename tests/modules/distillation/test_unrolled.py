"""The arguments of base classes: configurations may give them, and typing errors are refused."""

from functools import partial
from typing import Any

import jsonargparse
import pytest

from rtp.errors import UserError
from rtp.modules import (
    AddressableMemory,
    ConvNet,
    GradientMatching,
    HigherUnroll,
    ImageAddressedDistillation,
    InnerAdam,
    MemoryDistillation,
    PixelMemory,
    TaskDistillation,
)
from rtp.modules.distillation.unrolled import UnrolledDistillation


@pytest.mark.parametrize(
    ("cls", "own"),
    [
        (MemoryDistillation, set()),
        (ImageAddressedDistillation, {"shots", "few_shot"}),
        (TaskDistillation, {"classes_per_task", "task_seed", "extrapolation"}),
    ],
)
def test_a_configuration_has_the_arguments_of_all_bases(cls: type[UnrolledDistillation], own: set[str]) -> None:
    names = jsonargparse.ArgumentParser().add_class_arguments(cls, fail_untyped=False)
    inherited = {"memory", "network", "unroll", "slots_per_class", "inner_optimizer", "augmentation", "optimizer"}
    inherited |= {"lr_scheduler", "clip_factor", "growth"}
    assert {name.split(".")[0] for name in names} == {"image_shape", "num_classes"} | inherited | own


def test_typing_errors_and_numbers_out_of_range_are_refused() -> None:
    def build(slots_per_class: int, **arguments: Any) -> None:
        MemoryDistillation((1, 4, 4), 2, memory, network, HigherUnroll(1), slots_per_class, **arguments)

    network = partial(ConvNet, width=2, depth=1)

    def memory(shape: tuple[int, int, int], classes: int) -> PixelMemory:
        return PixelMemory(shape, classes, 1)

    def rated(shape: tuple[int, int, int], classes: int) -> AddressableMemory:
        return AddressableMemory(shape, classes, 10, num_bases=2, learned_rate=True)

    with pytest.raises(UserError, match=r"learned_rate needs InnerSGD, and .* is InnerAdam"):
        MemoryDistillation((1, 4, 4), 2, rated, network, HigherUnroll(1), 1, InnerAdam())
    with pytest.raises(UserError, match=r"GradientMatching does not learn a rate"):
        GradientMatching(1, image_shape=(1, 4, 4), num_classes=2, memory=rated, network=network)
    with pytest.raises(TypeError, match="augmentatoin"):
        build(1, augmentatoin=None)
    with pytest.raises(UserError, match="slots_per_class must be at least 1, got 0"):
        build(0)
