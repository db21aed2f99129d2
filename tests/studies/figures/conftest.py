"""Memories and tables with made-up numbers: figures need numbers, not good ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rtp.artefact import Accuracy, Description, DistilledMemory, Protocol
from rtp.artefact.loaded import assemble
from rtp.datamodules.normalisation import fit_standardisation
from rtp.studies.table import Row

MakeMemory = Callable[..., DistilledMemory]
MakeRow = Callable[..., Row]


@pytest.fixture
def make_memory() -> MakeMemory:
    """A function that makes a memory of four classes, three images each, from 10 bases; arguments change it."""

    def make(**changes: Any) -> DistilledMemory:
        generator = torch.Generator().manual_seed(0)
        entries: dict[str, Any] = {
            "kind": "addressable",
            "stored_as": "float32",
            "image_shape": (3, 8, 8),
            "downsampling": 2,
            "class_names": ("cat", "sea_dog", "$cow$", "hen"),
            "num_slots": 3,
            "zca_reg": None,
            "dataset": "animals",
            "steps": 7,
            "protocol": Protocol(20, 300, 640, 0.01, 0.9, "ConvNet(width=32)", None),
            "accuracies": (
                Accuracy("validation", 0.6, None, 2, 300, "ConvNet"),
                Accuracy("test", 0.5, 0.01, 20, 300, "ConvNet"),
            ),
            "config": {"seed_everything": 0},
            "rtp_version": "0.1.0",
        }
        description = Description(**(entries | changes))
        channels, height, width = description.image_shape
        classes, factor = len(description.class_names), description.downsampling
        basis = (channels, height // factor, width // factor)
        stored = (
            {"bases": torch.randn(10, *basis, generator=generator)}
            | {"addressing": torch.randn(description.num_slots, classes, 10, generator=generator)}
            if description.kind == "addressable"
            else {"images": torch.randn(classes * description.num_slots, *basis, generator=generator)}
        )
        raw = torch.randint(256, (40, *description.image_shape), generator=generator, dtype=torch.uint8)
        return assemble(description, stored, fit_standardisation(raw))

    return make


@pytest.fixture
def row() -> MakeRow:
    """A function that makes a row of a table; arguments change it."""

    def make(setting: str = "full", mean: float = 0.5, **changes: Any) -> Row:
        entries: dict[str, Any] = {
            "study": "momentum",
            "size": "fast",
            "setting": setting,
            "data": "digits",
            "seed": 0,
            "training_set": "distilled",
            "architecture": "ConvNet",
            "split": "test",
            "accuracy_mean": mean,
            "accuracy_std": 0.02,
            "networks": 20,
            "storage_floats": 640,
            "storage_bytes": 4 * changes.get("storage_floats", 640),
            "steps": 100,
            "seconds": 1.0,
            "device": "cpu",
            "version": "0.1.0",
        }
        return Row(**(entries | changes))

    return make
