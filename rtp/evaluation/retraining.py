"""Networks that were trained on one set of images and are measured, and what processes tell each other of them."""

from dataclasses import dataclass

from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from rtp.modules.networks.training import TrainingSet


@dataclass(frozen=True)
class Found:
    """What a process tells the others of its networks: their class, images in the training set, accuracies."""

    architecture: str
    images: int
    accuracies: list[float]


@dataclass(frozen=True)
class Candidate:
    """Networks trained on one set, each with the metric that collects its accuracy batch by batch.

    Where several processes share the networks out, these are the ones of this process: none, perhaps.
    """

    training_set: TrainingSet
    images: int
    networks: list[nn.Module]
    metrics: list[MulticlassAccuracy]

    def found(self) -> Found:
        """What the networks are and how well they do."""
        accuracies = [float(metric.compute()) for metric in self.metrics]
        return Found(type(self.networks[0]).__name__ if self.networks else "", self.images, accuracies)
