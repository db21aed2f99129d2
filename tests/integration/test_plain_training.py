"""A program of plain PyTorch reaches with a file what `rtp test` says of it, with and without ZCA."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rtp.artefact import Description, Protocol
from rtp.artefact.loaded import assemble
from rtp.cli import main
from rtp.datamodules import Digits

NETWORKS, EPOCHS, LEARNING_RATE = 10, 60, 0.05

# What somebody writes who has never seen rtp: `rtp.load`, and torch.
PROGRAM = """
import json, sys
import torch, rtp
from torch import nn

memory = rtp.load(sys.argv[1])
raw = torch.load(sys.argv[2], weights_only=True)
train, test = memory.dataset(), memory.preprocess(raw["images"])
accuracies = []
for seed in range(memory.protocol.networks):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(16, 16), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(16 * 4 * 4, memory.num_classes),
    )
    optimizer = torch.optim.SGD(network.parameters(), memory.protocol.learning_rate, memory.protocol.momentum)
    for _ in range(memory.protocol.epochs):
        for images, labels in torch.utils.data.DataLoader(train, memory.protocol.batch_size, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    with torch.no_grad():
        accuracies.append((network(test).argmax(1) == raw["labels"]).float().mean().item())
assert not any("lightning" in name for name in sys.modules)
print(json.dumps(accuracies))
"""


def distilled(zca: float | None, path: Path) -> None:
    """A memory worth training on, in no time: the mean of each class's images, and two of them."""
    data = Digits(zca=zca)
    data.setup("fit")
    images, labels = data.train_set
    members = [images[labels == label] for label in range(10)]
    network = {"class_path": "rtp.modules.ConvNet", "init_args": {"width": 16, "depth": 1}}
    protocol = {"epochs": EPOCHS, "batch_size": 640, "learning_rate": LEARNING_RATE, "momentum": 0.9}
    description = Description(
        kind="pixel",
        stored_as="float32",
        image_shape=(1, 8, 8),
        downsampling=1,
        class_names=data.class_names,
        num_slots=3,
        zca_reg=zca,
        dataset="digits",
        steps=0,
        protocol=Protocol(NETWORKS, EPOCHS, 640, LEARNING_RATE, 0.9, "ConvNet(depth=1, width=16)", None),
        accuracies=(),
        config={
            "seed_everything": 0,
            "model": {
                "class_path": "rtp.modules.MemoryDistillation",
                "init_args": {
                    "memory": {"class_path": "rtp.modules.PixelMemory", "init_args": {"images_per_class": 3}},
                    "network": network,
                    "unroll": {"class_path": "rtp.modules.HigherUnroll", "init_args": {"num_steps": 1}},
                    "slots_per_class": 1,
                },
            },
            "data": {"class_path": "rtp.datamodules.Digits", "init_args": {"zca": zca}},
            "evaluation": {"networks": NETWORKS, "protocol": protocol},
        },
        rtp_version="0.1.0",
    )
    stored = torch.cat([torch.cat([of_class.mean(0, keepdim=True), of_class[:2]]) for of_class in members])
    assemble(description, {"images": stored}, data.normalisation).save(path)


@pytest.mark.parametrize("zca", [None, 0.1])
def test_a_plain_loop_reaches_the_accuracy_that_rtp_measures(
    zca: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    distilled(zca, Path("memory.safetensors"))
    main(["test", "--memory", "memory.safetensors", "--run_dir", "tested", "--trainer.enable_progress_bar", "false"])
    report = json.loads(Path("tested/test.json").read_text())

    images, labels = Digits().load("test")
    torch.save({"images": images, "labels": labels}, "raw.pt")
    command = [sys.executable, "-c", PROGRAM, "memory.safetensors", "raw.pt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    accuracies = json.loads(done.stdout)

    assert len(accuracies) == report["networks"] == NETWORKS
    assert report["accuracy_mean"] > 0.7
    # both means have an error of std / sqrt(10): their difference is as large as this once in a thousand times
    tolerance = 1.5 * report["accuracy_std"]
    assert sum(accuracies) / NETWORKS == pytest.approx(report["accuracy_mean"], abs=tolerance)
