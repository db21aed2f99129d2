"""Training the networks of an evaluation together against one by one."""

import statistics
from functools import partial

import torch

from benchmarks.machine import interleaved, medians
from rtp.modules import ConvNet
from rtp.modules.networks.training import Trainee, TrainingProtocol, train_networks, vmap_pays

CLASSES, NETWORKS = 10, 20  # the paper evaluates 20 networks


def trainees(side: int, images: int, width: int, device: torch.device) -> list[Trainee]:
    """Fresh networks, of depth 1 for Digits' 8 pixels as in its configuration, and random images."""
    with device:
        inputs, labels = torch.randn(images, 3, side, side), torch.arange(images) % CLASSES
        depth = 1 if side == 8 else 3
        networks = [ConvNet((3, side, side), CLASSES, width, depth) for _ in range(NETWORKS)]
    return [Trainee(network, inputs, labels, seed) for seed, network in enumerate(networks)]


CASES = ((8, 10, 32, 50), (8, 60, 32, 20), (32, 10, 32, 8), (32, 100, 32, 2))
"""Side and number of images, width of the networks, and epochs."""


def together_or_alone(rounds: int, device: torch.device, cases: int) -> dict[str, dict[str, float]]:
    """Time both for the first of `CASES`, and say what rtp's own rule chooses."""
    results = {}
    for side, images, width, epochs in CASES[:cases]:
        networks, protocol = trainees(side, images, width, device), TrainingProtocol(epochs)
        ways = {"alone": False, "together": True}
        functions = {
            name: partial(train_networks, networks, protocol, vmapped=together) for name, together in ways.items()
        }
        for function in functions.values():
            function()
        times = interleaved(functions, rounds, device)
        middle = medians(times)
        ratios = [alone / together for alone, together in zip(times["alone"], times["together"], strict=True)]
        chosen = "together" if vmap_pays(networks, protocol) else "alone"
        results[f"{side}x{side} pixels, {images} images, width {width}"] = {
            "seconds_an_epoch_alone": middle["alone"] / epochs,
            "seconds_an_epoch_together": middle["together"] / epochs,
            "together_is_faster_by": statistics.median(ratios),
            "evaluation_speedup": middle["alone"] / middle[chosen],
        }
    return results
