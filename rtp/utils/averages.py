"""The average over outer steps of everything that averages memories."""

from collections.abc import Callable

from torch import Tensor

WARM_UP = 10
"""The decay is at most n / (n + `WARM_UP`) after n averages, so that the start is soon forgotten.

TensorFlow's ExponentialMovingAverage has (1 + n) / (10 + n).
"""


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The rule of an exponential moving average, as `avg_fn` of torch's `AveragedModel`.

    phi_bar <- d phi_bar + (1 - d) phi with d = min(`decay`, n / (n + `WARM_UP`)) after n averages, n at least 1.
    """

    def average(averaged: Tensor, current: Tensor, number: Tensor | int) -> Tensor:
        n = int(number)
        return averaged.lerp(current, 1 - min(decay, n / (n + WARM_UP)))

    return average
