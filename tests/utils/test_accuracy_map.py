"""Colours by hand, and where they are drawn."""

import pytest
import torch
from torch import Tensor

from rtp.utils.accuracy_map import accuracy_colours, accuracy_map
from rtp.utils.pictures import MAX_SIDE

YELLOW, TURQUOISE, BLUE = (torch.tensor(rgb) / 255 for rgb in ([255, 255, 217], [65, 182, 196], [8, 29, 88]))
GREY = torch.full((3,), 0.9)
CELL = 32


def test_colours_go_from_yellow_through_turquoise_to_blue() -> None:
    colours = accuracy_colours(torch.tensor([[0.0, 0.25, 0.5], [0.75, 1.0, torch.nan]]))
    assert colours.shape == (3, 2, 3)
    expected = [YELLOW, (YELLOW + TURQUOISE) / 2, TURQUOISE, (TURQUOISE + BLUE) / 2, BLUE, GREY]
    torch.testing.assert_close(colours.flatten(1).T, torch.stack(expected))
    torch.testing.assert_close(accuracy_colours(torch.tensor([-1.0, 2.0])).T, torch.stack([YELLOW, BLUE]))


def corners(picture: Tensor, tasks: int, cell: int) -> Tensor:
    """The colours (tasks, tasks, 3) of a corner pixel of each cell, where no number is."""
    # the map begins where the first row's blue does, below the titles
    blue = (picture - BLUE[:, None, None]).abs().amax(0) < 0.5 / 255
    top, left = blue.nonzero()[0].tolist()
    places = torch.arange(tasks) * cell
    return picture[:, top + places][:, :, left + places].permute(1, 2, 0)


def assert_drawn(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0.51 / 255)  # of 8 bits


def test_a_row_is_after_a_task_and_a_column_is_a_task() -> None:
    matrix = [[1.0], [0.0, 0.5], [0.25, 1.0, 0.75]]
    expected = [
        [BLUE, GREY, GREY],
        [YELLOW, TURQUOISE, GREY],
        [(YELLOW + TURQUOISE) / 2, BLUE, (TURQUOISE + BLUE) / 2],
    ]
    assert_drawn(corners(accuracy_map(matrix), 3, CELL), torch.stack([torch.stack(row) for row in expected]))


def test_a_task_that_no_validation_followed_is_grey() -> None:
    found = corners(accuracy_map([[1.0], [0.0, 0.5, 1.0]]), 3, CELL)
    assert_drawn(found[1], GREY.expand(3, 3))
    assert_drawn(found[2], torch.stack([YELLOW, TURQUOISE, BLUE]))


def test_a_few_tasks_have_their_numbers() -> None:
    one, other = accuracy_map([[1.0]]), accuracy_map([[0.99]])
    assert one.shape == other.shape
    assert ((one - other).abs() > 0.5).any()  # "99" for "100"


@pytest.mark.parametrize(("tasks", "cell"), [(1, 32), (28, 28), (100, 8), (900, 1)])
def test_the_map_of_any_number_of_tasks_is_bounded(tasks: int, cell: int) -> None:
    picture = accuracy_map([[1.0] * (task + 1) for task in range(tasks)])
    assert picture.shape[0] == 3
    assert max(picture.shape) < max(320, tasks * cell) + 200
    assert 0 <= picture.min() < picture.max() <= 1
    found = corners(picture, tasks, cell)
    lower = torch.ones(tasks, tasks).tril().bool()
    assert_drawn(found[lower], BLUE.expand(int(lower.sum()), 3))
    assert_drawn(found[~lower], GREY.expand(int((~lower).sum()), 3))


def test_of_too_many_tasks_the_first_ones_are_drawn() -> None:
    tasks = MAX_SIDE + 1
    picture = accuracy_map([[1.0], [0.5] * tasks])
    assert picture.shape[2] < MAX_SIDE + 200
    assert_drawn(corners(picture, 1, 1)[0, 0], BLUE)
