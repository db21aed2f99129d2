"""SVHN, digits of house numbers: 73,257 training and 26,032 test images of 32x32 colour pixels."""

from pathlib import Path

import torch
from torchvision import datasets

from rtp.datamodules.base import LabelledImages
from rtp.datamodules.published.torchvision_data import TorchvisionDataModule
from rtp.datamodules.sampling import Split


class SVHN(TorchvisionDataModule):
    """SVHN, from `train_32x32.mat` and `test_32x32.mat` in the data root; the `extra` images are not used."""

    class_names = tuple("0123456789")
    image_shape = (3, 32, 32)

    @property
    def files(self) -> tuple[str, ...]:
        """The MATLAB files of both splits."""
        return tuple(datasets.SVHN.split_list[split][1] for split in ("train", "test"))

    def read(self, split: Split, root: Path, download: bool) -> LabelledImages:
        """Read a split through torchvision, which gives the digit 0 the label 0; see the base class."""
        data = datasets.SVHN(root, split=split, download=download)
        return torch.from_numpy(data.data), torch.from_numpy(data.labels)
