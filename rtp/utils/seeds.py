"""Random streams derived from their place of use, so that resuming a run needs no stored generator state."""

import random

import numpy as np
import torch


def derived_seed(seed: int, *path: int) -> int:
    """Seed of the random stream at a place in a tree of streams, such as (training set, architecture, network).

    Args:
        seed: Seed of the whole.
        path: Indices of the place, each at least 0.

    Returns:
        A seed in [0, 2**32); streams of different places are independent.
    """
    return int(np.random.SeedSequence(seed % 2**64, spawn_key=path).generate_state(1)[0])


def seed_generators(seed: int) -> None:
    """Seed the global random generators of torch (all devices), NumPy and Python; `seed` in [0, 2**32)."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
