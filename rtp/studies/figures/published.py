"""The paper's accuracies (tables 2, 6, 7 and 8, percent), shown beside measured ones in figures."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Mean and deviation of an accuracy in percent, with the number of the paper's table."""

    mean: float
    std: float
    table: int


PAPER = "paper"
"""Prefix of the sizes with the paper's networks, steps and images."""

_IMAGE_FLOATS = {"mnist": 10 * 784, "fashionmnist": 10 * 784, "svhn": 30_720, "cifar10": 30_720, "cifar100": 307_200}
"""Numbers in one image per class, the unit of the budgets."""

_COLUMNS = {
    "ablation": ("DC", "pixels", "pixels downsampled", "addressing", "addressing augmented"),
    "momentum": ("none", "forward_only", "full"),
    "architectures": ("AlexNet", "ResNet12", "ConvNet"),
}
"""The settings or, for "architectures", the architectures tested on, in the order of the paper's table."""
# Table 7: Single-step GM, BPTT, BPTT + ds, Full w/o Aug., Full. "No augmentations are used on MNIST, FashionMNIST and
# SVHN", so that their "Full" is the fourth column here. Table 2 differs in the first column, and in the last one of
# CIFAR-10 with 50 images: 73.8 +- 0.4.
_ABLATION = """
mnist 1 91.7±0.5 95.2±0.3 98.2±0.1 98.7±0.7 -
mnist 10 97.4±0.2 98.8±0.1 98.9±0.1 99.3±0.5 -
mnist 50 98.8±0.2 99.2±0.1 99.4±0.1 99.4±0.4 -
fashionmnist 1 70.5±0.6 83.9±0.4 86.7±0.3 88.5±0.1 -
fashionmnist 10 82.3±0.4 89.1±0.2 89.1±0.1 90.0±0.7 -
fashionmnist 50 83.6±0.4 90.4±0.1 90.7±0.1 91.2±0.3 -
svhn 1 31.2±1.4 71.6±0.8 80.1±0.5 87.3±0.1 -
svhn 10 76.1±0.6 83.1±0.3 86.2±0.2 89.1±0.2 -
svhn 50 82.3±0.3 86.5±0.2 88.8±0.2 89.5±0.2 -
cifar10 1 28.3±0.5 49.1±0.6 55.2±0.5 64.2±0.6 66.4±0.4
cifar10 10 44.9±0.5 62.4±0.4 65.9±0.4 70.9±0.4 71.2±0.4
cifar10 50 53.9±0.5 70.5±0.4 71.1±0.5 72.1±0.5 73.6±0.5
cifar100 1 12.8±0.3 21.3±0.6 25.9±0.4 33.5±0.2 34.0±0.4
cifar100 10 25.2±0.3 34.7±0.5 36.5±0.4 40.6±0.3 42.9±0.7
"""
# Table 8
_MOMENTUM = """
cifar10 1 40.5±0.8 45.6±0.7 49.1±0.6
cifar10 10 50.0±0.5 57.4±0.3 62.4±0.4
"""
# Table 6: a line for each architecture that the memory was distilled on, in the order of the columns
_TRANSFER = """
cifar10 1 58.5±0.5 53.6±0.6 57.3±0.6
cifar10 1 53.2±0.8 58.5±0.5 57.0±0.3
cifar10 1 50.5±1.3 55.9±0.6 66.4±0.4
cifar10 10 65.6±0.5 60.2±0.6 63.7±0.6
cifar10 10 62.3±0.9 67.8±0.3 65.2±0.6
cifar10 10 63.8±0.8 67.5±0.4 71.2±0.4
"""


def published(
    study: str, size: str, data: str, storage_floats: int, setting: str, architecture: str | None = None
) -> Published | None:
    """The paper's result for a setting on a data set and budget, if there is one.

    Args:
        study: "ablation", "momentum" or "architectures".
        size: Size of the study; without the prefix `PAPER` there is no result.
        data: Name of the data set.
        storage_floats: Numbers that the memory stores, within 10 % of a budget of 1, 10 or 50 images per class (which
            equation 4 fills up to a remainder).
        setting: Its name in `configs/studies/`.
        architecture: Evaluation architecture, for "architectures".
    """
    name = data.lower().replace("_", "")
    budget = storage_floats / _IMAGE_FLOATS.get(name, 1)
    images = max(1, round(budget))
    if not size.startswith(PAPER) or name not in _IMAGE_FLOATS or abs(budget - images) > 0.1 * images:
        return None
    return _TABLES.get((study, name, images, setting, architecture if study == "architectures" else None))


def in_order(study: str, settings: Sequence[str]) -> list[str]:
    """Settings in the order of the paper's table, others last."""
    table = _COLUMNS.get(study, ())
    return sorted(settings, key=lambda setting: table.index(setting) if setting in table else len(table))


def _tables() -> dict[tuple[str, str, int, str, str | None], Published]:
    tables: dict[tuple[str, str, int, str, str | None], Published] = {}
    texts = {"ablation": (7, _ABLATION), "momentum": (8, _MOMENTUM), "architectures": (6, _TRANSFER)}
    for study, (number, text) in texts.items():
        columns = _COLUMNS[study]
        for place, line in enumerate(text.strip().splitlines()):
            data, images, *values = line.split()
            for column, value in zip(columns, values, strict=True):
                key = (columns[place % len(columns)], column) if study == "architectures" else (column, None)
                if value != "-":
                    mean, std = map(float, value.split("±"))
                    tables[study, data, int(images), *key] = Published(mean, std, number)
    return tables


_TABLES = _tables()
