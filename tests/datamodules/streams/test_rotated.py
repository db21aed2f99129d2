"""Rotations: angles from 0 to 180 degrees, right ones exactly, black outside."""

import pytest
import torch

from rtp.datamodules import Digits, ImageDataModule, RotatedTasks
from rtp.errors import UserError


def test_right_angles_are_exact(numbered: ImageDataModule) -> None:
    stream = RotatedTasks(numbered, 3, 20)
    stream.setup("fit")
    assert [stream.angle(task) for task in range(3)] == [0, 90, 180]
    for task in range(3):
        pixels = torch.rand(5, 1, 4, 4)
        torch.testing.assert_close(stream.transformed(pixels, task), torch.rot90(pixels, task, (2, 3)))


def test_20_tasks_are_evenly_spaced_from_0_to_180_degrees(numbered: ImageDataModule) -> None:
    stream = RotatedTasks(numbered, 20, 20)
    angles = torch.tensor([stream.angle(task) for task in range(20)])
    torch.testing.assert_close(angles, torch.linspace(0, 180, 20))
    assert RotatedTasks(numbered, 1, 20).angle(0) == 0
    assert RotatedTasks(numbered, 2, 20, max_angle=90).angle(1) == 90


def test_what_comes_from_outside_is_black() -> None:
    stream = RotatedTasks(Digits(), 5, 20)
    stream.setup("fit")
    images, _ = stream.task_set(1, "train")  # 45 degrees
    corners = stream.normalisation.invert(images)[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.zeros_like(corners))
    pixels = torch.ones(1, 1, 8, 8)
    assert stream.transformed(pixels, 1)[0, 0, 0, 0] == 0
    assert stream.transformed(pixels, 1)[0, 0, 4, 4] == 1


@pytest.mark.parametrize("angle", [0.0, 360.0])
def test_angles_out_of_range_are_refused(angle: float, numbered: ImageDataModule) -> None:
    with pytest.raises(UserError, match=f"max_angle is {angle}, but must be above 0 and below 360 degrees"):
        RotatedTasks(numbered, 3, 20, max_angle=angle)


def test_images_that_are_not_square_are_refused(numbered: ImageDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(numbered), "image_shape", (1, 2, 8))
    with pytest.raises(UserError, match=r"numbered has images of 1x2x8, but a stream of rotations needs square ones"):
        RotatedTasks(numbered, 3, 20).setup("fit")
