"""Recalled images: as a torch data set, and as parquet, which `datasets.load_dataset` opens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from torch import Tensor
from torch.utils.data import Dataset

from rtp.errors import UserError
from rtp.utils.names import folder_names


@dataclass(frozen=True, eq=False)
class RecalledImages(Dataset[tuple[Tensor, int]]):
    """Recalled images, (n, C, H, W) float32, and their labels, (n,) int64, class by class, as a torch data set."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])


def fill_parquet(pixels: Tensor, labels: Tensor, class_names: Sequence[str], file: BinaryIO) -> None:
    """Write images as PNG of 8 bits in a column `image`, and their classes in a column `label`.

    Args:
        pixels: (n, C, H, W) floats in [0, 1], C 1 or 3.
        labels: (n,) integers.
        class_names: Of all labels; if they are not distinct, names of folders stand for them.
        file: An open file.

    Raises:
        UserError: If `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError("parquet needs the library `datasets`: pip install rtp[hf]") from error
    from torchvision.transforms.functional import to_pil_image  # takes seconds

    names = list(class_names)
    if len(set(names)) < len(names) or not all(names):  # a ClassLabel's are distinct
        names = folder_names(tuple(names))
    columns: dict[str, list[Any]] = {"image": [to_pil_image(image) for image in pixels], "label": labels.tolist()}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    table = datasets.Dataset.from_dict(columns, features=features)
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()  # it takes less than a second
    try:
        table.to_parquet(file)
    finally:
        if bars:
            datasets.enable_progress_bars()
