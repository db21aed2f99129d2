"""How the time of an outer step grows with its size."""

import dataclasses

import torch

from benchmarks.engines import Case, outer_step
from benchmarks.machine import interleaved, medians
from rtp.modules import StepwiseUnroll

BASE = Case(steps=5, width=32, images=50, real=50, bases=16, classes=10)
LARGER = {
    "steps": (10, 20),
    "images": (100, 200),
    "width": (64, 128),
    "bases": (64, 256),
    "classes": (50, 100),
}
"""Twice and four times the work, or for bases and classes, which should cost little, more of them."""


def growth(rounds: int, device: torch.device, whole: bool) -> dict[str, dict[str, float]]:
    """Seconds of an outer step at the base case and with one size after another made larger.

    Args:
        rounds: Times that each is measured, in turn; the median counts.
        device: Where.
        whole: Whether the engine compiles, half a minute for each width, batch and number of classes, and each size is
            measured at both of its larger values instead of the first.
    """
    cases = {"base": BASE}
    for name, values in LARGER.items():
        for value in values if whole else values[:1]:
            # a minibatch has as many images of each class, and at least one
            images = max(BASE.images, value) if name == "classes" else BASE.images
            cases[f"{name}={value}"] = Case(**vars(BASE) | {"images": images, name: value})
    engine = StepwiseUnroll(BASE.steps, compile=whole)  # one, so that what is compiled is shared
    functions = {
        key: outer_step(case, dataclasses.replace(engine, num_steps=case.steps), device) for key, case in cases.items()
    }
    for function in functions.values():
        function()
    times = medians(interleaved(functions, rounds, device))
    return {key: {**vars(cases[key]), "seconds": value} for key, value in times.items()}
