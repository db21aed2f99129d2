"""A reservoir that keeps the logits of its samples too."""

import torch
from torch import Tensor

from rtp.modules.continual.stores.base import FLOAT_BYTES, SampleBits
from rtp.modules.continual.stores.reservoir import Reservoir


class LogitReservoir(Reservoir):
    """A reservoir whose samples have the logits that a network gave them when they came.

    The logits are charged to the budget: a sample takes 4 * outputs bytes more.

    Args:
        capacity: Samples it can hold, at least 0.
        image_shape: (C, H, W) of a sample.
        outputs: Logits of a sample.
        bits: Of an image's numbers, see `SampleStore`; logits have 32.

    Attributes:
        logits: (capacity at the start, outputs) float32, a row for each image.

    Raises:
        UserError: If `capacity` is negative.
    """

    logits: Tensor

    def __init__(self, capacity: int, image_shape: tuple[int, int, int], outputs: int, bits: SampleBits = 32) -> None:
        super().__init__(capacity, image_shape, bits)
        self.register_buffer("logits", torch.zeros(capacity, outputs))

    @property
    def bytes_per_sample(self) -> int:
        """Those of one image and its logits."""
        return super().bytes_per_sample + self.logits.shape[1] * FLOAT_BYTES

    @property
    def floats_per_sample(self) -> int:
        """Numbers of one image and its logits."""
        return super().floats_per_sample + self.logits.shape[1]

    @torch.no_grad()
    def add_with_logits(self, images: Tensor, labels: Tensor, tasks: Tensor | int, logits: Tensor) -> None:
        """Add images (n, C, H, W) one after the other, with labels (n,), tasks (n,) or one task, and logits (n, k)."""
        where, what = self._places(len(labels))
        what = what.to(labels.device)
        self._write(where, what, images, labels, tasks)
        self.logits[where] = logits[what].to(self.logits)

    def sample_logits(self, n: int) -> tuple[Tensor, Tensor]:
        """Draw m = min(n, len) samples as `sample` does: images (m, C, H, W) and logits (m, outputs)."""
        chosen = self.draw(n)
        return self.images_at(chosen), self.logits[chosen]
