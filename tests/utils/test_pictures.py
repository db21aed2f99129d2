"""Similarities by hand, and what is drawn where."""

import pytest
import torch

from rtp.utils.pictures import (
    MAX_PIXELS,
    MAX_SIDE,
    class_similarity,
    image_grid,
    similarity_map,
    stretched,
    within_range,
)


def test_similarity_is_the_cosine_of_mean_coefficients() -> None:
    # mean coefficients (1, 0), (1, 1), (-2, 0)
    coefficients = torch.tensor([[[2.0, 1.0], [0.0, -1.0]], [[1.0, 1.0], [1.0, 1.0]], [[-2.0, 0.0], [-2.0, 0.0]]])
    half = 0.5**0.5
    expected = torch.tensor([[1.0, half, -1.0], [half, 1.0, -half], [-1.0, -half, 1.0]])
    torch.testing.assert_close(class_similarity(coefficients), expected)


def test_similarity_map_draws_cells_row_by_row_below_and_right_of_the_names() -> None:
    matrix = torch.tensor([[1.0, -1.0], [0.0, 0.5]])
    picture = similarity_map(matrix, ["apple", "pear"])
    side = 2 * 24
    cells = picture[:, -side:, -side:]
    assert picture.shape[1] == picture.shape[2] > side
    red, blue, white, pink = cells[:, 0, 0], cells[:, 0, -1], cells[:, -1, 0], cells[:, -1, -1]
    assert red[0] > 0.6 > red[2]
    assert blue[2] > 0.6 > blue[0]
    assert torch.equal(white, torch.ones(3))
    torch.testing.assert_close(pink, (red + white) / 2)
    assert picture[:, :-side, -side:].min() < 0.5  # names above the columns
    assert picture[:, -side:, :-side].min() < 0.5  # names beside the rows


def test_a_grid_enlarges_small_images_by_a_whole_factor() -> None:
    rows = [torch.zeros(3, 1, 8, 8), torch.ones(3, 1, 8, 8)]
    grid = image_grid(rows)
    assert grid.shape == (3, 2 * 50 + 2, 3 * 50 + 2)
    assert grid[0, 10, 10] == 0
    assert grid[0, 70, 10] == 1


def test_stretched_images_fill_the_range() -> None:
    images = torch.tensor([[[[1.0, 3.0]]], [[[-5.0, -5.0]]]])
    assert stretched(images).flatten().tolist() == pytest.approx([0.0, 1.0, 0.0, 0.0])


def test_images_within_the_range_stay_and_others_lose_contrast() -> None:
    inside = torch.tensor([0.0, 0.2, 0.5, 1.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(within_range(inside), inside)
    # 99 of 100 values are 0.5 +- 1, one is an outlier: halved, and the outlier is cut off
    outside = torch.cat([torch.full((50,), 1.5), torch.full((49,), -0.5), torch.tensor([-9.0])]).view(1, 1, 10, 10)
    expected = torch.cat([torch.ones(50), torch.zeros(50)]).view(1, 1, 10, 10)
    torch.testing.assert_close(within_range(outside), expected)


@pytest.mark.parametrize(("classes", "side"), [(100, 2000), (500, 2000), (1000, 2000), (2048, 2048), (3000, 2048)])
def test_the_similarity_map_of_many_classes_is_bounded(classes: int, side: int) -> None:
    picture = similarity_map(torch.eye(classes), [f"class {number}" for number in range(classes)])
    assert side <= picture.shape[1] == picture.shape[2] <= MAX_SIDE + 200  # the names, while there is room for them
    cell = side // min(classes, MAX_SIDE)
    assert picture[0, -1, -1] > 0.6 > picture[2, -1, -1]  # the last class equals itself
    assert torch.equal(picture[:, -1, -1 - cell], torch.ones(3))


def test_a_long_name_does_not_make_the_map_wide() -> None:
    assert similarity_map(torch.eye(2), ["a" * 100_000, "b"]).shape[2] < 1000


@pytest.mark.parametrize("shape", [(1, 16384, 1), (1, 1, 16384), (3, 2, 5000), (3, 512, 512)])
def test_a_grid_of_images_of_any_shape_is_bounded(shape: tuple[int, int, int]) -> None:
    grid = image_grid([torch.zeros(10, *shape)] * 20)
    assert shape[1] * shape[2] < grid[0].numel() < 1.2 * MAX_PIXELS
