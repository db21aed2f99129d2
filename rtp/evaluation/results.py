"""What an evaluation found, as data, as a table for the terminal and as JSON."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


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
        storage_floats: Numbers it takes to store them: of a memory the bases, the addressing and whatever else it
            learned.
        storage_bytes: Bytes of these numbers, each in the type that it is kept in: float32 what is learned or a mean,
            8 bits the pixels of real images.
        storage_percent: `storage_floats` as a percentage of the whole training set's.
    """

    training_set: str
    architecture: str
    accuracies: tuple[float, ...]
    epochs: int
    images: int
    storage_floats: int
    storage_bytes: int
    storage_percent: float

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
    """Lay results out as a text table, a line each, accuracies in percent.

    Args:
        results: At least one result.
    """
    header = (
        "training set",
        "architecture",
        "accuracy (%)",
        "networks",
        "epochs",
        "images",
        "floats",
        "bytes",
        "of the data",
    )
    rows = [
        (
            result.training_set,
            result.architecture,
            f"{100 * result.mean:.2f} +- {100 * result.std:.2f}",
            str(len(result.accuracies)),
            str(result.epochs),
            f"{result.images:,}",
            f"{result.storage_floats:,}",
            f"{result.storage_bytes:,}",
            f"{result.storage_percent:.3g} %",
        )
        for result in results
    ]
    return text_table(header, rows, words=2)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """Lay cells out below a header.

    Args:
        header: Names of the columns.
        rows: A cell for each column.
        words: Columns of words, the first ones, which start on the left; numbers end on the right.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part of it.

    Args:
        path: File to write; its folder is made where it is missing.
        content: Plain values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)
