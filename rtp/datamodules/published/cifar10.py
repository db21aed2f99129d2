"""CIFAR-10: 50,000 training and 10,000 test images of 32x32 colour pixels."""

from pathlib import Path
from typing import ClassVar

import torch
from torchvision import datasets

from rtp.datamodules.base import LabelledImages
from rtp.datamodules.published.torchvision_data import TorchvisionDataModule
from rtp.datamodules.sampling import Split


class CIFAR10(TorchvisionDataModule):
    """CIFAR-10, from the Python batches in `cifar-10-batches-py/` below the data root."""

    source: ClassVar[type[datasets.CIFAR10]] = datasets.CIFAR10
    # label_names of the published batches.meta
    class_names: tuple[str, ...] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    image_shape = (3, 32, 32)

    @property
    def files(self) -> tuple[str, ...]:
        """The pickled batches of both splits and the file of class names."""
        batches = [name for name, _ in self.source.train_list + self.source.test_list]
        return tuple(f"{self.source.base_folder}/{name}" for name in [*batches, self.source.meta["filename"]])

    def read(self, split: Split, root: Path, download: bool) -> LabelledImages:
        """Read a split through torchvision; see the base class."""
        data = self.source(root, train=split == "train", download=download)
        return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)
