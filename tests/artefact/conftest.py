"""Memories that nobody trained: files need numbers, not good ones."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rtp.artefact import Accuracy, Description, DistilledMemory, Protocol
from rtp.artefact.layout import Stream, task_name
from rtp.artefact.loaded import assemble
from rtp.artefact.query_network import QueryNetwork
from rtp.datamodules.normalisation import Normalisation, fit_standardisation, fit_zca

MakeMemory = Callable[..., DistilledMemory]


@pytest.fixture
def make_memory() -> MakeMemory:
    """A function that makes a memory of three classes, two images each; arguments change its description."""

    def make(zca: float | None = None, streaming: bool = False, **changes: Any) -> DistilledMemory:
        generator = torch.Generator().manual_seed(0)
        entries: dict[str, Any] = {
            "kind": "addressable",
            "stored_as": "float32",
            "image_shape": (3, 8, 8),
            "downsampling": 2,
            "class_names": ("cat", "dog", "../cow"),
            "num_slots": 2,
            "zca_reg": zca,
            "dataset": "animals",
            "steps": 7,
            "protocol": Protocol(20, 300, 640, 0.01, 0.9, "ConvNet(width=32)", None),
            "accuracies": (Accuracy("test", 0.5, 0.01, 20, 300, "ConvNet"),),
            "config": {"seed_everything": 0},
            "rtp_version": "0.1.0",
        }
        if changes.get("kind") == "image":
            entries["query"] = QueryNetwork("ConvNet", {"width": 3, "depth": 1}, 4)
        if changes.get("kind") == "tasks":
            entries["tasks"] = ((0,), (2,), (1,))
        if streaming:  # two finished tasks of three, of the same two classes
            arguments = {"batch_size": 10, "replays": 2, "zca": None}
            entries |= {"kind": "tasks", "tasks": ((0, 1), (2, 3)), "class_names": ("cat", "dog") * 2}
            entries["stream"] = Stream("permuted", "animals", 0, 3, (35, 30), (8, 6), arguments)
            of_tasks = [replace(entries["accuracies"][0], mean=0.4, task=task_name(number)) for number in range(2)]
            entries["accuracies"] = (replace(entries["accuracies"][0], task="mean of 2 tasks"), *of_tasks)
        description = Description(**(entries | changes))
        channels, height, width = description.image_shape
        factor, classes = description.downsampling, len(description.class_names)
        basis = (channels, height // factor, width // factor)

        def randn(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        slots = description.num_slots
        if description.kind == "pixel":
            stored = {"images": randn(classes * slots, *basis)}
        elif description.tasks is not None:
            tasks, ways = len(description.tasks), len(description.tasks[0])
            stored = {"bases": randn(tasks * 5, *basis), "addressing": randn(tasks * slots, ways, 5)}
        elif description.query is not None:
            weights = description.query.build(description.image_shape, description.query.query_dim).state_dict()
            stored = {"bases": randn(5, *basis), "addressing": randn(slots, description.query.query_dim, 5)}
            stored |= {f"features.{name}": randn(*weight.shape) for name, weight in weights.items()}
        else:
            stored = {"bases": randn(5, *basis), "addressing": randn(slots, classes, 5)}
        raw = torch.randint(256, (40, *description.image_shape), generator=generator, dtype=torch.uint8)
        normalisation: Normalisation = fit_standardisation(raw) if zca is None else fit_zca(raw / 255, zca)
        return assemble(description, stored, normalisation)

    return make
