"""Permutations: every pixel is there once, at the same other place in every image of a task."""

import torch

from rtp.datamodules import ImageDataModule, PermutedTasks


def test_a_task_is_the_data_set_with_its_pixels_permuted(numbered: ImageDataModule) -> None:
    stream = PermutedTasks(numbered, 3, None, seed=4)
    stream.setup("fit")
    plain = {tuple(image.flatten().tolist()) for image in numbered.train_set[0].mul(1000).round()}
    for task in range(3):
        order = stream.permutation(task)
        assert sorted(order.tolist()) == list(range(16))
        back = torch.empty_like(order)
        back[order] = torch.arange(16)
        images, labels = stream.task_set(task, "train")
        restored = images.flatten(1)[:, back].mul(1000).round()
        assert {tuple(image.tolist()) for image in restored} == plain
        assert len(labels) == len(plain) == 160


def test_tasks_have_permutations_of_their_own_the_first_one_too(numbered: ImageDataModule) -> None:
    stream = PermutedTasks(numbered, 3, 10)
    orders = [tuple(stream.permutation(task).tolist()) for task in range(3)]
    assert len({*orders, tuple(range(16))}) == 4
    assert orders == [tuple(PermutedTasks(numbered, 3, 10).permutation(task).tolist()) for task in range(3)]
    assert orders[0] != tuple(PermutedTasks(numbered, 3, 10, seed=1).permutation(0).tolist())


def test_the_channels_of_a_pixel_stay_together(numbered: ImageDataModule) -> None:
    stream = PermutedTasks(numbered, 1, 10)
    pixels = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)
    permuted = stream.transformed(pixels, 0)
    assert torch.equal(permuted[:, 0], permuted[:, 2])
    assert not torch.equal(permuted, pixels)
