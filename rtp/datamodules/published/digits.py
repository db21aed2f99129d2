"""Digits: 1,797 handwritten digits of 8x8 grey pixels that come with scikit-learn."""

import torch
from sklearn.datasets import load_digits

from rtp.datamodules.base import ImageDataModule, LabelledImages
from rtp.datamodules.sampling import Split, fixed_part

# The published pixels count the dark ones of 4x4: 0 to 16.
MAXIMUM = 16


class Digits(ImageDataModule):
    """scikit-learn's digits; there is no official test split, so a fixed, stratified 20 % is the test set."""

    class_names = tuple("0123456789")
    image_shape = (1, 8, 8)

    def load(self, split: Split) -> LabelledImages:
        """Read one side of the fixed split; see the base class."""
        digits = load_digits()
        images = torch.from_numpy(digits.images * 255 / MAXIMUM).round().to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(digits.target).long()
        part = fixed_part(labels, split)
        return images[part], labels[part]
