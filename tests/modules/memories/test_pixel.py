"""The coefficients and initialisation of a pixel memory."""

import math

import torch

from rtp.modules.memories.pixel import PixelMemory

SHAPE, CLASSES = (3, 8, 8), 4


def test_pixel_addressing_is_the_papers_0_1_matrix() -> None:
    memory = PixelMemory(SHAPE, CLASSES, 3)
    matrices = memory.coefficients().transpose(0, 1)  # (r, d_y, K)
    for i in range(3):
        for m in range(CLASSES):
            expected = torch.zeros(3 * CLASSES)
            expected[m * 3 + i] = 1
            assert torch.equal(matrices[i, m], expected)


def test_pixels_can_start_from_standard_normal_numbers() -> None:
    torch.manual_seed(0)
    images = PixelMemory(SHAPE, CLASSES, 10, init="standard_normal").bases
    # n samples of a unit deviation: five standard errors of the mean, and of the deviation
    assert images.mean().abs() < 5 / math.sqrt(images.numel())
    assert (images.std() - 1).abs() < 5 / math.sqrt(2 * images.numel())
