"""Recalled images as a torch data set."""

from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True, eq=False)
class RecalledImages(Dataset[tuple[Tensor, int]]):
    """Recalled images, (n, C, H, W) float32, and their labels, (n,) int64, class by class, as a torch data set."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])
