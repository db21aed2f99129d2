"""MER's two interpolations against algorithm 1 written out for numbers."""

import pytest
import torch
from torch import Tensor

from rtp.modules.continual.reptile import SampleLoss, reptile_within_and_across


def parabola(weights: tuple[Tensor, Tensor], curvature: float, minimum: float) -> SampleLoss:
    return lambda: sum(curvature * (weight - minimum).square().sum() / 2 for weight in weights)  # type: ignore[return-value]


def test_one_sample_of_the_stream_as_in_algorithm_1() -> None:
    values = [0.7, -1.3, 2.0]
    weights = (
        torch.tensor(values[:2], dtype=torch.double, requires_grad=True),
        torch.tensor(values[2:], dtype=torch.double, requires_grad=True),
    )
    samples = [[(1.0, 0.5), (0.3, -2.0), (2.0, 0.1)], [(0.7, 1.5), (1.1, -1.0), (0.2, 3.0)]]
    batches = [[parabola(weights, *sample) for sample in batch] for batch in samples]
    alpha, beta, gamma = 0.2, 0.3, 0.6

    reptile_within_and_across(weights, batches, alpha, beta, gamma)

    for value, result in zip(values, torch.cat(weights).tolist(), strict=True):
        theta = across = value
        for batch in samples:
            within = theta
            for curvature, minimum in batch:
                theta = theta - alpha * curvature * (theta - minimum)
            theta = within + beta * (theta - within)
        assert result == pytest.approx(across + gamma * (theta - across), abs=1e-12)


def test_both_rates_of_one_are_plain_descent() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 4, dtype=torch.double), torch.randn(6, dtype=torch.double)
    weight = torch.zeros(4, dtype=torch.double, requires_grad=True)
    plain = torch.zeros(4, dtype=torch.double)
    for image, label in zip(images, labels, strict=True):
        plain = plain - 0.1 * 2 * (image @ plain - label) * image
    losses = [lambda i=i: (images[i] @ weight - labels[i]).square() for i in range(6)]
    reptile_within_and_across([weight], [losses[:3], losses[3:]], 0.1, 1.0, 1.0)
    torch.testing.assert_close(weight.detach(), plain)
