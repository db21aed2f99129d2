"""Measure memories that rtp ships, and write their rows of memories/memories.csv.

    python docs/measure_memories.py mnist_ipc1
    python docs/measure_memories.py new_one --recipe "rtp fit --config cpu/mnist_ipc1" --commit 1a2b3c4

Both read the test images. A row has the accuracy of `rtp test`, ten or twenty fresh networks of the architecture that
the memory was distilled with, and that of torchvision's ResNet-18 in a loop of plain torch.
"""

import argparse
import csv
import json
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models import resnet18

import rtp
from rtp.artefact import DistilledMemory
from rtp.cli import main as run
from rtp.datamodules import ImageDataModule
from rtp.studies.data import built_data

TABLE = Path(__file__).parents[1] / "memories" / "memories.csv"
COLUMNS = (
    *("name", "data", "stored_as", "numbers", "bytes", "bits_per_class", "images_per_class"),
    *("accuracy", "networks", "architecture", "seconds", "resnet18", "resnet18_epochs", "recipe", "commit", "torch"),
)
SEEDS = range(3)
STEPS = 300
"""Of SGD for a ResNet-18, in minibatches of 100."""
PIXELS = 32
"""Height and width that it sees: smaller images are enlarged."""


def resnet_input(images: torch.Tensor) -> torch.Tensor:
    """Images (n, C, H, W) of at least `PIXELS` a side in three channels, grey ones in all three alike."""
    small = images.shape[-1] < PIXELS
    size = (PIXELS, PIXELS) if small else images.shape[-2:]
    return F.interpolate(images, size=size, mode="bilinear").expand(-1, 3, -1, -1)


def resnet_accuracies(memory: DistilledMemory, images: torch.Tensor, labels: torch.Tensor) -> tuple[list[float], int]:
    """Accuracy of ResNet-18s trained on a memory: a loop that knows of rtp nothing but the recalled images.

    Args:
        memory: The memory.
        images: (n, C, H, W) test images, preprocessed.
        labels: (n,) their labels.

    Returns:
        Fraction of correctly classified images for each seed, and the epochs.
    """
    train = memory.dataset()
    epochs = max(1, round(STEPS * 100 / len(train)))
    accuracies = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        network = resnet18(num_classes=memory.num_classes)
        network.maxpool = nn.Identity()  # as usual for images of 32 pixels
        optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        for _ in range(epochs):
            for inputs, targets in DataLoader(train, 100, shuffle=True, drop_last=len(train) > 100):
                optimizer.zero_grad()
                F.cross_entropy(network(resnet_input(inputs)), targets).backward()
                optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            guesses = torch.cat([network(resnet_input(part)).argmax(1) for part in images.split(1000)])
        accuracies.append(float((guesses == labels).double().mean()))
    return accuracies, epochs


def measured(name: str, recipe: str, commit: str) -> dict[str, str]:
    """The row of a memory."""
    memory = rtp.load(name)
    with TemporaryDirectory() as folder:
        quiet = ["--trainer.logger=false", "--trainer.enable_progress_bar=false"]
        run(["test", "--memory", name, "--run_dir", folder, *quiet])
        result = json.loads((Path(folder) / "test.json").read_text(encoding="utf-8"))["results"][0]
    data = built_data(memory.description.config["data"])
    assert isinstance(data, ImageDataModule)  # memories of streams are not shipped
    data.normalisation = memory.normalisation
    data.prepare_data()
    data.setup("test")
    accuracies, epochs = resnet_accuracies(memory, *data.test_set)
    return {
        "name": name,
        "data": memory.description.dataset,
        "stored_as": memory.description.stored_as,
        "numbers": str(memory.storage_floats),
        "bytes": str(memory.storage_bytes),
        "bits_per_class": f"{result['bits_per_class']:.0f}",
        "images_per_class": str(memory.images_per_class),
        "accuracy": f"{100 * result['accuracy_mean']:.2f} +- {100 * result['accuracy_std']:.2f}",
        "networks": str(result["networks"]),
        "architecture": memory.protocol.architecture,
        "seconds": f"{result['seconds']:.1f}",
        "resnet18": f"{100 * fmean(accuracies):.2f} +- {100 * stdev(accuracies):.2f}",
        "resnet18_epochs": str(epochs),
        "recipe": recipe,
        "commit": commit,
        "torch": torch.__version__.partition("+")[0],
    }


def rows_by_name() -> dict[str, dict[str, str]]:
    """The table's rows."""
    if not TABLE.exists():
        return {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def main() -> None:
    """Measure the memories that are named, and write the table."""
    parser = argparse.ArgumentParser(description="Measure memories that rtp ships")
    parser.add_argument("names", metavar="NAME", nargs="+")
    parser.add_argument("--recipe", help="the command that made it; by default as in the table")
    parser.add_argument("--commit", help="the commit that made it; by default as in the table")
    options = parser.parse_args()
    for name in options.names:
        known = rows_by_name().get(name, {})
        recipe, commit = options.recipe or known.get("recipe"), options.commit or known.get("commit")
        if not recipe or not commit:
            parser.error(f"{name} is not in {TABLE.name}: give --recipe and --commit")
        row = measured(name, recipe, commit)
        rows = rows_by_name() | {name: row}  # read again: another process may have measured another one
        with TABLE.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main()
