"""Random streams derived from their place of use, so that resuming a run needs no stored generator state."""

import random

import numpy as np
import torch


def derived_seed(seed: int, *path: int) -> int:
    """Seed in [0, 2**32) of one stream in a tree of independent random streams.

    Args:
        seed: Seed of the tree.
        path: The stream's indices, each at least 0, such as (training set, architecture, network).
    """
    return int(np.random.SeedSequence(seed % 2**64, spawn_key=path).generate_state(1)[0])


def seed_generators(seed: int) -> None:
    """Seed the global random generators of torch (all devices), NumPy and Python; `seed` in [0, 2**32)."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
