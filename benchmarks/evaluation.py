"""Training the networks of an evaluation together against one by one."""

import statistics
from functools import partial

import torch

from benchmarks.engines import SHAPE
from benchmarks.machine import interleaved, medians
from rtp.evaluation import Trainee, TrainingProtocol, pays_together, train_networks
from rtp.modules import ConvNet

CLASSES, NETWORKS = 10, 20  # the paper evaluates 20 networks


def trainees(images: int, width: int, device: torch.device) -> list[Trainee]:
    """Fresh networks and random images."""
    with device:
        inputs, labels = torch.randn(images, *SHAPE), torch.arange(images) % CLASSES
        return [Trainee(ConvNet(SHAPE, CLASSES, width), inputs, labels, seed) for seed in range(NETWORKS)]


def together_or_alone(rounds: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Time both for few and for many images, and say what rtp's own rule chooses."""
    results = {}
    for images, width, epochs in ((10, 32, 8), (10, 128, 2), (100, 32, 2)):
        networks, protocol = trainees(images, width, device), TrainingProtocol(epochs)
        ways = {"alone": False, "together": True}
        functions = {
            name: partial(train_networks, networks, protocol, together=together) for name, together in ways.items()
        }
        for function in functions.values():
            function()
        times = interleaved(functions, rounds, device)
        middle = medians(times)
        ratios = [alone / together for alone, together in zip(times["alone"], times["together"], strict=True)]
        chosen = "together" if pays_together(networks, protocol) else "alone"
        results[f"images={images},width={width}"] = {
            "seconds_an_epoch_alone": middle["alone"] / epochs,
            "seconds_an_epoch_together": middle["together"] / epochs,
            "together_is_faster_by": statistics.median(ratios),
            "evaluation_speedup": middle["alone"] / middle[chosen],
        }
    return results
