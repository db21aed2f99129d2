"""Seeds of streams, and the global generators."""

import random

import numpy as np
import torch

from rtp.utils.seeds import derived_seed, seed_generators


def test_every_generator_follows_from_the_seed() -> None:
    def drawn(seed: int) -> tuple[float, float, float]:
        seed_generators(seed)
        return float(torch.rand(())), float(np.random.rand()), random.random()

    first, other = drawn(derived_seed(0, 3, 0)), drawn(derived_seed(0, 3, 1))
    assert first == drawn(derived_seed(0, 3, 0))
    assert all(a != b for a, b in zip(first, other, strict=True))
