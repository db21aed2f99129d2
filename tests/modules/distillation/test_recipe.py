from functools import partial
from typing import Literal

import pytest

from rtp.modules import MLP, Augmentation, ConvNet, FlipOrRotate, HigherUnroll, StepwiseUnroll, Unroll
from rtp.modules.distillation.recipe import suitable_depth, suitable_downsampling, suitable_recipe
from rtp.modules.networks import NetworkFactory
from rtp.modules.unroll.window import RandomWindow


@pytest.mark.parametrize(
    ("shape", "depth"), [((1, 8, 8), 1), ((3, 32, 32), 3), ((1, 28, 28), 3), ((3, 64, 64), 4), ((1, 5, 9), 1)]
)
def test_depth_leaves_maps_of_about_four_pixels(shape: tuple[int, int, int], depth: int) -> None:
    assert suitable_depth(shape) == depth


@pytest.mark.parametrize(
    ("network", "steps", "pixels", "engine"),
    [
        (None, 500, 8 * 8, HigherUnroll),
        (None, 1000, 28 * 28, StepwiseUnroll),
        (None, 50, 28 * 28, HigherUnroll),
        (partial(ConvNet, width=128), 1000, 28 * 28, StepwiseUnroll),
        (ConvNet, 1000, 28 * 28, StepwiseUnroll),
        (MLP, 1000, 28 * 28, HigherUnroll),
    ],
)
def test_long_runs_of_convnets_are_compiled(
    network: NetworkFactory | None, steps: int, pixels: int, engine: type[Unroll]
) -> None:
    recipe = suitable_recipe(network, "auto", pixels, 290, steps, None)
    assert type(recipe.unroll) is engine
    assert recipe.unroll.num_steps == (20 if engine is HigherUnroll else 60)
    assert recipe.inner_learning_rate * recipe.unroll.num_steps == pytest.approx(1.5 if engine is HigherUnroll else 1.2)
    short = engine is HigherUnroll
    for part in (recipe.average, recipe.augmentation, recipe.patience):
        assert (part is None) == short
    assert recipe.validate_every == (steps // 10 if short else 50)


@pytest.mark.parametrize(("inner_steps", "window"), [(10, None), (11, RandomWindow(10)), (None, RandomWindow(10))])
def test_loops_as_short_as_the_window_are_whole(inner_steps: int | None, window: RandomWindow | None) -> None:
    recipe = suitable_recipe(None, "auto", 28 * 28, 290, 2000, inner_steps)
    unroll = recipe.unroll
    assert isinstance(unroll, StepwiseUnroll)
    assert recipe.inner_learning_rate * unroll.num_steps == pytest.approx(1.2)
    assert (unroll.num_steps, unroll.window) == (inner_steps or 60, window)


@pytest.mark.parametrize(
    ("images", "plain", "augmented"),
    [(290, 40, 80), (1150, 10, 21), (50, 240, 480), (1, 240, 480), (100_000, 10, 10)],
)
def test_networks_are_retrained_for_as_many_steps(images: int, plain: int, augmented: int) -> None:
    assert suitable_recipe(None, None, 28 * 28, images, 1000, None).protocol.epochs == plain
    given: tuple[Augmentation | Literal["auto"], ...] = (FlipOrRotate(), "auto")
    for augmentation in given:
        assert suitable_recipe(None, augmentation, 28 * 28, images, 1000, None).protocol.epochs == augmented


def test_a_given_augmentation_stays() -> None:
    flips = FlipOrRotate()
    for augmentation in (flips, None):
        for steps in (10, 1000):
            recipe = suitable_recipe(None, augmentation, 28 * 28, 290, steps, None)
            assert recipe.augmentation is augmentation


def test_images_of_an_odd_size_are_not_downsampled() -> None:
    assert suitable_downsampling((3, 32, 32)) == 2
    assert suitable_downsampling((3, 32, 31)) == 1
