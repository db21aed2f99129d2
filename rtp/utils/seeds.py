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


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, of the CPU and of the accelerator if there is one; `seed` in [0, 2**32).

    `torch.manual_seed` formats a stack trace for each kind of accelerator that torch knows and the process does not
    use, which takes a fifth of the time of a small network's step.
    """
    torch.default_generator.manual_seed(seed)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        device = torch.get_device_module(accelerator)
        seed_all = getattr(device, "manual_seed_all", None) or device.manual_seed  # MPS is one device
        seed_all(seed)


def seed_generators(seed: int) -> None:
    """Seed the global random generators of torch (see `seed_torch`), NumPy and Python; `seed` in [0, 2**32)."""
    seed_torch(seed)
    np.random.seed(seed)
    random.seed(seed)
