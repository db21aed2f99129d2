"""Null on the command line, at any depth of a configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtp.cli.app import main

BASE = {
    "model": {
        "class_path": "MemoryDistillation",
        "init_args": {
            "memory": {"class_path": "AddressableMemory", "init_args": {"images_per_class": 1, "num_bases": 4}},
            "network": {"class_path": "ConvNet", "init_args": {"width": 4, "depth": 2}},
            "unroll": {
                "class_path": "StepwiseUnroll",
                "init_args": {"num_steps": 3, "window": {"class_path": "RandomWindow", "init_args": {"size": 2}}},
            },
            "slots_per_class": 1,
            "augmentation": "FlipOrRotate",
            "lr_scheduler": {
                "class_path": "torch.optim.lr_scheduler.CosineAnnealingLR",
                "init_args": {"T_max": 3},
            },
        },
    },
    "data": {"class_path": "Digits", "init_args": {"real_images_per_class": 4}},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


def printed(config: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(config), *options, "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("null", ["null", "None"])
@pytest.mark.parametrize(
    ("option", "places"),
    [
        ("model.augmentation", ["augmentation"]),
        ("model.lr_scheduler", ["lr_scheduler"]),
        ("model.unroll.window", ["unroll", "init_args", "window"]),
        ("model.unroll.init_args.window", ["unroll", "init_args", "window"]),
        ("model.memory.num_bases", ["memory", "init_args", "num_bases"]),
        ("model.network.depth", ["network", "init_args", "depth"]),
    ],
)
def test_null_unsets_what_a_configuration_sets(
    config: Path, capsys: pytest.CaptureFixture[str], option: str, places: list[str], null: str
) -> None:
    for options in ([f"--{option}={null}"], [f"--{option}", null]):
        found = printed(config, capsys, *options)["model"]["init_args"]
        for place in places:
            found = found[place]
        assert found is None


def test_the_last_value_counts(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model.memory.num_bases=null", "--model.memory.num_bases=3"]
    assert printed(config, capsys, *options)["model"]["init_args"]["memory"]["init_args"]["num_bases"] == 3
    backwards = printed(config, capsys, *reversed(options))
    assert backwards["model"]["init_args"]["memory"]["init_args"]["num_bases"] is None
