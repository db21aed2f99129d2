"""Similarities by hand, and what is drawn where."""

import pytest
import torch

from rtp.utils.pictures import class_similarity, image_grid, similarity_map, stretched, within_range


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
