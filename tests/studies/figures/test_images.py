"""Which pixels stand where in the figures of images."""

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtp.artefact import Accuracy, DistilledMemory
from rtp.errors import UserError
from rtp.studies.figures.images import bases_figure, recalled_figure

MakeMemory = Callable[..., DistilledMemory]
# 8x8 pixels are enlarged to 48, and 2 of white lie between them
STEP = 50


def picture(axes: Axes) -> torch.Tensor:
    values = axes.images[0].get_array()
    assert values is not None
    return torch.tensor(np.asarray(values)).permute(2, 0, 1)


def image_at(grid: torch.Tensor, top: int, left: int) -> torch.Tensor:
    """The image whose upper left corner lies here, at its own size."""
    return grid[:, top : top + 48 : 6, left : left + 48 : 6]


def assert_nothing_is_cut_off(figure: Figure) -> None:
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        labels = [axes.title, *axes.get_yticklabels()]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)


def test_bases_are_rows_of_eight_with_the_first_one_s_number(make_memory: MakeMemory) -> None:
    memory = make_memory()
    figure = bases_figure(memory, "a name")
    (axes,) = figure.axes
    grid = picture(axes)
    assert grid.shape == (3, 2 * STEP + 2, 8 * STEP + 2)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "9"]
    assert axes.get_title() == "a name\n10 bases of 4x4 pixels, each stretched to its range"
    for place in (0, 7, 8, 9):
        image = image_at(grid, 2 + STEP * (place // 8), 2 + STEP * (place % 8))
        assert float(image.min()) == 0
        assert float(image.max()) == pytest.approx(1)
        basis = torch.nn.functional.interpolate(memory.memory.bases[place, None], size=(8, 8), mode="bilinear")
        pixels = memory.normalisation.invert(basis)[0].detach()
        assert torch.allclose(image, (pixels - pixels.min()) / (pixels.max() - pixels.min()), atol=1e-5)
    assert bool((image_at(grid, 2 + STEP, 2 + 2 * STEP) == 1).all())  # there is no basis 11
    assert_nothing_is_cut_off(figure)


def test_a_panel_names_the_tasks_that_an_accuracy_is_of(make_memory: MakeMemory) -> None:
    few = Accuracy("test", 0.5, 0.1, 20, 300, "ConvNet", "5-way recalled")
    (axes,) = recalled_figure([make_memory(accuracies=(few,))], ["ours"], ["hen"], images=1).axes
    assert axes.get_title().endswith("\ntest accuracy 50.0 ± 10.0 %\nof 5-way recalled")


def test_recalled_images_have_a_row_a_class_and_a_panel_a_memory(make_memory: MakeMemory) -> None:
    memories = [make_memory(), make_memory(kind="pixel", num_slots=2, accuracies=(), downsampling=1)]
    long_name = "a $long$ name of a memory of pixels"
    figure = recalled_figure(memories, ["ours", long_name], ["hen", "cat"], images=10)
    first, second = figure.axes
    assert first.get_title() == (
        "ours\n600 numbers of float32, 2,400 bytes\n3 images and 4,800 bits a class\ntest accuracy 50.0 ± 1.0 %"
    )
    assert (
        second.get_title()
        == f"{long_name[:31]}…\n1,536 numbers of float32, 6,144 bytes\n2 images and 12,288 bits a class"
    )
    assert [label.get_text() for label in first.get_yticklabels()] == ["hen", "cat"]
    grid = picture(first)
    assert grid.shape == (3, 2 * (STEP + 2) + 12, 3 * STEP + 2)  # three images: no memory has more
    for row, label in enumerate((3, 0)):
        expected = memories[0].to_pixels(memories[0].recall(torch.tensor([label]))[0].detach())
        for slot in range(3):
            image = image_at(grid, 2 + row * (STEP + 2 + 12), 2 + slot * STEP)
            assert torch.allclose(image, expected[slot])
    pixels = picture(second)
    assert bool((image_at(pixels, 2, 2 + 2 * STEP) == 1).all())  # the second memory has two images a class
    assert not bool((image_at(pixels, 2, 2 + STEP) == 1).all())
    assert_nothing_is_cut_off(figure)


def test_many_images_of_a_class_take_several_rows(make_memory: MakeMemory) -> None:
    figure = recalled_figure([make_memory(num_slots=40, image_shape=(1, 8, 8))], ["ours"], ["cat"], images=24)
    assert picture(figure.axes[0]).shape == (3, 3 * STEP + 2, 10 * STEP + 2)
    assert_nothing_is_cut_off(figure)


def test_nothing_to_show_is_said(make_memory: MakeMemory) -> None:
    with pytest.raises(UserError, match=r"^--images 0 of 1 classes are nothing to show"):
        recalled_figure([make_memory()], ["ours"], ["cat"], images=0)
    with pytest.raises(UserError, match=r"^there is no class 'dog' in this memory"):
        recalled_figure([make_memory()], ["ours"], ["dog"], images=1)
