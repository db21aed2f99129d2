"""Seeds of streams, and the global generators."""

import random

import numpy as np
import pytest
import torch

from rtp.utils.seeds import derived_seed, seed_generators, seed_torch


def test_every_generator_follows_from_the_seed() -> None:
    def drawn(seed: int) -> tuple[float, float, float]:
        seed_generators(seed)
        return float(torch.rand(())), float(np.random.rand()), random.random()

    first, other = drawn(derived_seed(0, 3, 0)), drawn(derived_seed(0, 3, 1))
    assert first == drawn(derived_seed(0, 3, 0))
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_torch_draws_what_its_own_seeding_draws(seed: int) -> None:
    torch.manual_seed(seed)
    expected = torch.initial_seed(), torch.randn(3).tolist()
    seed_torch(seed)
    assert (torch.initial_seed(), torch.randn(3).tolist()) == expected


class FakeDevice:
    """Keeps the seeds that it is given, under the name that its kind of accelerator has for it."""

    def __init__(self, name: str) -> None:
        self.seeds: list[int] = []
        setattr(self, name, self.seeds.append)


@pytest.mark.parametrize(("kind", "name"), [("cuda", "manual_seed_all"), ("mps", "manual_seed")])
def test_the_accelerator_is_seeded_too(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(name)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device(kind))
    monkeypatch.setattr(torch, "get_device_module", lambda found: {torch.device(kind): device}[found])
    seed_torch(5)
    assert device.seeds == [5]
