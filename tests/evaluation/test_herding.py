"""The greedy choice against every possible one."""

import torch
from torch import Tensor

from rtp.evaluation.herding import herding


def by_brute_force(features: Tensor, count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        rest = [index for index in range(len(features)) if index not in chosen]
        distances = [float((features.mean(0) - features[[*chosen, index]].mean(0)).norm()) for index in rest]
        chosen.append(rest[distances.index(min(distances))])
    return chosen


def test_every_choice_is_the_best_one_of_those_that_are_left() -> None:
    for seed in range(20):
        features = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for count in (1, 3, 7):
            assert herding(features, count).tolist() == by_brute_force(features, count)


def test_by_hand() -> None:
    # mean 3: nearest is 4, then 1 makes (4 + 1) / 2 = 2.5 where 0 makes 2 and 7 makes 5.5, then 7 makes exactly 4
    features = torch.tensor([[0.0], [1.0], [4.0], [7.0]])
    assert herding(features, 3).tolist() == [2, 1, 3]


def test_all_of_them_are_a_permutation() -> None:
    assert sorted(herding(torch.zeros(4, 2), 4).tolist()) == [0, 1, 2, 3]
