"""MNIST: handwritten digits, 60,000 training and 10,000 test images of 28x28 grey pixels."""

from pathlib import Path
from typing import ClassVar

from torchvision import datasets

from rtp.datamodules.base import LabelledImages
from rtp.datamodules.published.torchvision_data import TorchvisionDataModule
from rtp.datamodules.sampling import Split


class MNIST(TorchvisionDataModule):
    """MNIST, from the four idx files in `MNIST/raw/` below the data root."""

    source: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    class_names = tuple("0123456789")
    image_shape = (1, 28, 28)

    @property
    def files(self) -> tuple[str, ...]:
        """The idx files, for training and test."""
        archives = [archive for archive, _ in self.source.resources]
        return tuple(f"{self.source.__name__}/raw/{archive.removesuffix('.gz')}" for archive in archives)

    def read(self, split: Split, root: Path, download: bool) -> LabelledImages:
        """Read a split through torchvision; see the base class."""
        data = self.source(root, train=split == "train", download=download)
        return data.data.unsqueeze(1), data.targets
