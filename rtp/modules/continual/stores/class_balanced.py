"""GDumb's greedy sampler: a store with as many samples of each class as the stream allows."""

from typing import Any

import torch
from torch import Tensor

from rtp.modules.continual.stores.base import LabelledStore, SampleBits


class ClassBalancedStore(LabelledStore):
    """Samples of all classes seen so far, in numbers as equal as a single pass over them allows.

    With k places and |Y| classes seen, a sample of class y enters if y is new, or if less than k / |Y| samples of y are
    held. If there is no place left, it replaces a random sample of the class with most, the first of these. Algorithm 1
    of GDumb (Prabhu, Torr and Dokania, ECCV 2020).

    All state is in buffers of fixed shape, and so in checkpoints. Draws come from torch's global CPU generator.

    Args:
        capacity: k, at least 0.
        image_shape: (C, H, W) of a sample.
        num_classes: Labels, from 0.
        num_tasks: Tasks, if a label of another task is another class; otherwise 1.
        bits: See `SampleStore`.

    Raises:
        UserError: If `capacity` is negative.
    """

    def __init__(
        self,
        capacity: int,
        image_shape: tuple[int, int, int],
        num_classes: int,
        num_tasks: int = 1,
        bits: SampleBits = 32,
    ) -> None:
        super().__init__(capacity, image_shape, bits)
        self._num_classes, self._by_task = num_classes, num_tasks > 1
        # samples seen of each class, and in the end samples held
        self.register_buffer("_counts", torch.zeros(num_classes * num_tasks + 1, dtype=torch.int64))

    def __len__(self) -> int:
        return int(self._counts[-1])

    @torch.no_grad()
    def add(self, images: Tensor, labels: Tensor, task: int) -> None:
        """Offer images (n, C, H, W) of a task one after the other, with labels (n,)."""
        for image, label in zip(images, labels.tolist(), strict=True):
            place = self._place(self._class(label, task))
            if place is not None:
                self.write_images(slice(place, place + 1), image[None])
                self.labels[place], self.tasks[place] = label, task

    def _place(self, own: int) -> int | None:
        """Count a sample of a class in; return the place that it takes, if it enters."""
        capacity, size, seen = len(self.labels), len(self), self._counts[:-1]
        new = seen[own] == 0
        seen[own] += 1
        held = self._class(self.labels[:size], self.tasks[:size])
        if not capacity or not (new or (held == own).sum() * (seen > 0).sum() < capacity):
            return None
        if size < capacity:
            self._counts[-1] += 1
            return size
        largest = torch.bincount(held, minlength=len(seen)).argmax()
        places = torch.nonzero(held == largest)[:, 0]
        return int(places[torch.randint(len(places), ())])

    def _class(self, label: Any, task: Any) -> Any:
        return label + task * self._num_classes if self._by_task else label
