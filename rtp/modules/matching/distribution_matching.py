"""The LightningModule that learns a memory by matching the features of random networks: DM."""

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD

from rtp.errors import UserError
from rtp.modules.distillation.base import Distillation
from rtp.modules.matching.base import class_pairs, feature_distance
from rtp.utils.checks import check_at_least


class DistributionMatching(Distillation):
    """Distils a data set by matching mean features of recalled and real images in random networks: DM.

    Each outer step draws a fresh network, which is never trained, and descends the `feature_distance` of its features,
    the inputs of the last linear layer.

    Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023.

    Args:
        slots_per_class: Recalled images of each class in a step; all of them if the memory has fewer.
        optimizer: The outer optimizer; the default is the authors'.
        **kwargs: As in `Distillation`. The networks' `features` map images (n, C, H, W) to features (n, ...). The
            augmentation is drawn once per class and step.

    Raises:
        UserError: If `slots_per_class` is below 1, or the network has no `features`.
    """

    def __init__(
        self,
        slots_per_class: int,
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=1.0, momentum=0.5),
        **kwargs: Any,
    ) -> None:
        check_at_least("slots_per_class", slots_per_class, 1)
        super().__init__(optimizer=optimizer, **kwargs)
        self.slots_per_class = slots_per_class
        self._fresh_features()  # refuses a network without them before the first step

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The `feature_distance`; see `Distillation.outer_loss`."""
        features = self._fresh_features()
        pairs = class_pairs(self.memory, self.slots_per_class, real_images, real_labels, self.augmentation)
        # class by class, as the authors do: the activations of all real images may not fit into memory at once
        recalled = [features(images).flatten(1) for images in pairs.recalled]
        with torch.no_grad():
            real = [features(images).flatten(1) for images in pairs.real]
        return feature_distance(recalled, real)

    def _fresh_features(self) -> nn.Module:
        network = self.fresh_network(self.network)
        if not isinstance(features := getattr(network, "features", None), nn.Module):
            raise UserError(
                f"DistributionMatching needs a network with `features`, a module of all layers but the last: "
                f"{type(network).__name__} has none"
            )
        return features.requires_grad_(False)
