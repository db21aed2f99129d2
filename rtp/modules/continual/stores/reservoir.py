"""Reservoir sampling: a buffer that holds a uniform sample of all that was added."""

from typing import cast

import torch
from torch import Tensor

from rtp.modules.continual.stores.base import LabelledStore, SampleBits


class Reservoir(LabelledStore):
    """A uniform random subset of a stream, of fixed size: Vitter's algorithm R.

    The first `capacity` samples are kept. Sample number i (from 1) after them replaces a random one with probability
    capacity / i, so after n samples each is held with probability capacity / n. Vitter, "Random Sampling with a
    Reservoir", ACM Transactions on Mathematical Software 11(1), 1985.

    All state is in buffers of fixed shape, and so in checkpoints. Draws come from torch's global CPU generator.

    Arguments, attributes and errors are those of `LabelledStore`.
    """

    word = "reservoir"

    def __init__(self, capacity: int, image_shape: tuple[int, int, int], bits: SampleBits = 32) -> None:
        super().__init__(capacity, image_shape, bits)
        # capacity now, samples held, samples seen since the last `clear`
        self.register_buffer("_counts", torch.tensor([capacity, 0, 0]))

    def __len__(self) -> int:
        return int(self._counts[1])

    @property
    def capacity(self) -> int:
        """Samples that it can hold now."""
        return int(self._counts[0])

    @property
    def seen(self) -> int:
        """Samples added since it was made or cleared."""
        return int(self._counts[2])

    @torch.no_grad()
    def add(self, images: Tensor, labels: Tensor, tasks: Tensor | int) -> None:
        """Add images (n, C, H, W) one after the other, with labels (n,) and tasks (n,) or the one task of them all."""
        where, what = self._places(len(labels))
        self._write(where, what.to(labels.device), images, labels, tasks)

    def _write(self, where: Tensor, what: Tensor, images: Tensor, labels: Tensor, tasks: Tensor | int) -> None:
        self.write_images(where, images[what])
        self.labels[where] = labels[what].to(self.labels)
        self.tasks[where] = torch.as_tensor(tasks, device=labels.device).expand(len(labels))[what].to(self.tasks)

    def _places(self, count: int) -> tuple[Tensor, Tensor]:
        """Count that many samples in; return places to overwrite, and the number of the sample for each."""
        capacity, held, seen = cast(list[int], self._counts.tolist())
        places: dict[int, int] = {}  # place -> the last sample that took it
        for sample in range(count):
            seen += 1
            if held < capacity:
                places[held] = sample
                held += 1
            elif (place := int(torch.randint(seen, ()))) < capacity:
                places[place] = sample
        where, what = (torch.tensor(list(indices), dtype=torch.int64) for indices in (places, places.values()))
        self._counts.copy_(torch.tensor([capacity, held, seen]))
        return where.to(self.labels.device), what.to(self.labels.device)

    def sample(self, n: int, replacement: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Draw m = min(n, len) of its samples, uniformly and in random order.

        Args:
            n: Samples to draw, at least 0.
            replacement: Whether a sample can be drawn several times.

        Returns:
            Images (m, C, H, W), labels (m,) and tasks (m,).
        """
        chosen = self.draw(n, replacement)
        return self.images_at(chosen), self.labels[chosen], self.tasks[chosen]

    def draw(self, n: int, replacement: bool = False) -> Tensor:
        """Places (m,) of what `sample` draws."""
        held = len(self)
        chosen = torch.randint(held, (min(n, held),)) if replacement and held else torch.randperm(held)[:n]
        return chosen.to(self.labels.device)

    @torch.no_grad()
    def shrink(self, capacity: int) -> None:
        """Lower the capacity; if it holds more, keep a random subset.

        A uniform subset of a uniform sample is uniform, so what follows is still algorithm R.

        Raises:
            ValueError: If the capacity is negative or above the present one.
        """
        if not 0 <= capacity <= self.capacity:
            raise ValueError(f"a reservoir of {self.capacity} samples cannot shrink to {capacity}")
        held = len(self)
        if held > capacity:
            kept = torch.randperm(held)[:capacity].to(self.labels.device)
            for buffer in self._samples():
                chosen = buffer[kept]
                buffer.zero_()
                buffer[:capacity] = chosen
        self._counts[0] = capacity
        self._counts[1] = min(held, capacity)

    @torch.no_grad()
    def clear(self) -> None:
        """Forget all samples and how many were added; the capacity stays."""
        for buffer in self._samples():
            buffer.zero_()
        self._counts[1:] = 0

    def _samples(self) -> list[Tensor]:
        return [buffer for buffer in self.buffers() if buffer is not self._counts]
