"""Rotations: angles from 0 to 180 degrees, right ones exactly, black outside."""

import pytest
import torch

from rtp.datamodules import Digits, ImageDataModule, RotatedTasks
from rtp.errors import UserError


def test_right_angles_are_exact(numbered: ImageDataModule) -> None:
    stream = RotatedTasks(source=numbered, tasks=3, samples_per_task=20)
    stream.setup("fit")
    assert [stream.angle(task) for task in range(3)] == [0, 90, 180]
    for task in range(3):
        pixels = torch.rand(5, 1, 4, 4)
        torch.testing.assert_close(stream.transformed(pixels, task), torch.rot90(pixels, task, (2, 3)))


def test_20_tasks_are_evenly_spaced_from_0_to_180_degrees(numbered: ImageDataModule) -> None:
    stream = RotatedTasks(source=numbered, tasks=20, samples_per_task=20)
    angles = torch.tensor([stream.angle(task) for task in range(20)])
    torch.testing.assert_close(angles, torch.linspace(0, 180, 20))
    assert RotatedTasks(source=numbered, tasks=1, samples_per_task=20).angle(0) == 0
    assert RotatedTasks(source=numbered, tasks=2, samples_per_task=20, max_angle=90).angle(1) == 90


def test_what_comes_from_outside_is_black() -> None:
    stream = RotatedTasks(source=Digits(), tasks=5, samples_per_task=20)
    stream.setup("fit")
    images, _ = stream.task_set(1, "train")  # 45 degrees
    corners = stream.normalisation.invert(images)[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.zeros_like(corners))
    pixels = torch.ones(1, 1, 8, 8)
    assert stream.transformed(pixels, 1)[0, 0, 0, 0] == 0
    assert stream.transformed(pixels, 1)[0, 0, 4, 4] == 1


@pytest.mark.parametrize("angle", [0.0, 360.0])
def test_angles_out_of_range_are_refused(angle: float, numbered: ImageDataModule) -> None:
    with pytest.raises(UserError, match=rf"max_angle must lie in \(0, 360\), got {angle}"):
        RotatedTasks(source=numbered, tasks=3, samples_per_task=20, max_angle=angle)


def test_images_that_are_not_square_are_refused(numbered: ImageDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(numbered), "image_shape", (1, 2, 8))
    with pytest.raises(UserError, match=r"numbered has images of 1x2x8, but a stream of rotations needs square ones"):
        RotatedTasks(source=numbered, tasks=3, samples_per_task=20).setup("fit")
