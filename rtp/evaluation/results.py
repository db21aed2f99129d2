"""Results of an evaluation, as data, as a table for the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from rtp.utils.tables import text_table


@dataclass(frozen=True)
class Result:
    """Accuracy of networks of one architecture that were trained on one set of images.

    Attributes:
        training_set: "distilled", "random real", "herding", "class means", "k-means centres" or "all real"; of
            small tasks "5-way recalled" and the like.
        architecture: Class name of the networks.
        accuracies: Fraction of images classified correctly, one number a network.
        epochs: Epochs each network was trained for.
        images: Number of training images.
        storage_floats: Numbers stored for them: of a memory the bases, the addressing and all else that it learned.
        storage_bytes: Bytes of these numbers: a memory's in its format with scales, float32 for means, 8 bits for a
            real pixel.
        storage_percent: Storage as a percentage of the whole training set's, where a learned number of 32 bits counts
            as much as a real pixel (equation 4).
        images_per_class: Training images of each class of a network.
        bits_per_class: `storage_bytes` in bits, over the classes of the data set.
        seconds: Wall-clock seconds of training one network, the mean; in evaluation tasks with the recall of its images
            and its measurement. None if not measured; results are equal whatever it is.
    """

    training_set: str
    architecture: str
    accuracies: tuple[float, ...]
    epochs: int
    images: int
    storage_floats: int
    storage_bytes: int
    storage_percent: float
    images_per_class: float
    bits_per_class: float
    seconds: float | None = field(default=None, compare=False)

    @property
    def mean(self) -> float:
        """Mean accuracy over the networks."""
        return float(torch.tensor(self.accuracies, dtype=torch.float64).mean())

    @property
    def std(self) -> float:
        """Standard deviation over the networks, dividing by their number: 0, not NaN, for a single one."""
        return float(torch.tensor(self.accuracies, dtype=torch.float64).std(correction=0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that `test.json` uses."""
        values = asdict(self) | {"accuracy_mean": self.mean, "accuracy_std": self.std}
        return values | {"accuracies": list(self.accuracies), "networks": len(self.accuracies)}


def format_table(results: Sequence[Result]) -> str:
    """Lay out one result or more as a text table, a line each, accuracies in percent."""
    rows = [
        {
            "training set": result.training_set,
            "architecture": result.architecture,
            "accuracy (%)": f"{100 * result.mean:.2f} +- {100 * result.std:.2f}",
            "networks": str(len(result.accuracies)),
            "epochs": str(result.epochs),
            "seconds": "" if result.seconds is None else f"{result.seconds:.2g}",
            "images/class": f"{result.images_per_class:,.6g}",
            "numbers": f"{result.storage_floats:,}",
            "bytes": f"{result.storage_bytes:,}",
            "bits/class": f"{result.bits_per_class:,.0f}",
            "of the data": f"{result.storage_percent:.3g} %",
        }
        for result in results
    ]
    return text_table(list(rows[0]), [list(row.values()) for row in rows], words=2)
