"""A stranger's configuration: rtp's own classes with plain values, or nothing."""

import copy
from typing import Any

import pytest
import yaml

from rtp.cli.signatures import constructor_arguments
from rtp.cli.trusted_config import OWN_CLASSES, UNUSED, _check_arguments, config_for_test
from rtp.errors import UserError
from rtp.modules import Distillation

CONFIG: dict[str, Any] = {
    "seed_everything": 3,
    "model": {
        "class_path": "rtp.modules.MemoryDistillation",
        "init_args": {
            "memory": {
                "class_path": "rtp.modules.PixelMemory",
                "init_args": {"images_per_class": 1.0, "init": "xavier_uniform"},
            },
            "network": {"class_path": "rtp.modules.ResNet12", "init_args": {"widths": [8, 8, 8, 8]}},
            "unroll": {
                "class_path": "rtp.modules.StepwiseUnroll",
                "init_args": {
                    "num_steps": 2,
                    "window": {"class_path": "rtp.modules.LastSteps", "init_args": {"size": 2}},
                },
            },
            "slots_per_class": 2,
            "inner_optimizer": {"class_path": "anything"},
            "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
            "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.ConstantLR", "init_args": {"factor": 1.0}},
            "augmentation": None,
        },
    },
    "data": {"class_path": "rtp.datamodules.ImageFolder", "init_args": {"folder": "animals", "root": None}},
    "evaluation": {
        "networks": 20,
        "protocol": {"epochs": 2, "learning_rate": 0.01},
        "architectures": [{"class_path": "rtp.modules.MLP"}],
        "vmapped": None,
    },
}  # fmt: skip


def changed(place: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *parents, last = place.split("/")
    part: Any = config
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[last] = value
    return config


def test_what_a_test_needs_is_kept() -> None:
    taken = yaml.safe_load(config_for_test(CONFIG))
    expected = copy.deepcopy(CONFIG)
    for unused in ("optimizer", "lr_scheduler", "inner_optimizer"):
        del expected["model"]["init_args"][unused]
    assert taken == expected


def test_files_written_before_a_renaming_are_tested_as_they_were() -> None:
    old = copy.deepcopy(CONFIG)
    del old["evaluation"]["vmapped"]
    old["evaluation"]["together"] = False
    old["model"]["init_args"]["unroll"]["init_args"]["kept_gigabytes"] = 1.0
    taken = yaml.safe_load(config_for_test(old))
    assert taken["evaluation"]["vmapped"] is False
    assert taken["model"]["init_args"]["unroll"]["init_args"]["activation_cache_gb"] == 1.0


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("data", {"class_path": "os.system", "init_args": {"command": "true"}}, "'os.system' as data"),
        ("data", {"class_path": "my_data.Stars"}, "'my_data.Stars' as data"),
        ("data", "os.system", "'os.system' as data"),
        ("data", "config.yaml", "'config.yaml' as data"),
        ("data", {"class_path": "rtp.cli.process.os.system"}, "'rtp.cli.process.os.system' as data"),
        ("data", {"class_path": "rtp.modules.import_module"}, "'rtp.modules.import_module' as data"),
        ("data", {"class_path": ["rtp.datamodules.MNIST"]}, "list as data"),
        ("data", {"class_path": "rtp.datamodules.MNIST", "init_args": "x"}, "'rtp.datamodules.MNIST' as data"),
        ("data", {"class_path": "rtp.datamodules.MNIST", "dict_kwargs": {}}, "dict as data"),
        ("data/init_args/root", {"class_path": "subprocess.Popen"}, "'subprocess.Popen' as data.root"),
        ("data/init_args/shell", True, "'shell' as data"),
        ("model", None, "None as model"),
        ("model", [], "list as model"),
        ("model/class_path", "lightning.LightningModule", "'lightning.LightningModule' as model"),
        ("model/init_args/network", "os.system", "'os.system' as model.network"),
        ("model/init_args/network", ["os.system"], r"'os.system' as model.network\[0\]"),
        ("model/init_args/network", {"width": 3}, "dict as model.network"),
        ("model/init_args/network/init_args/widths", ["os.system"], r"'os.system' as model.network.widths\[0\]"),
        ("model/init_args/memory/init_args/init", "os.system", "'os.system' as model.memory.init"),
        ("model/init_args/unroll/init_args/window", "os.system", "'os.system' as model.unroll.window"),
        ("model/init_args/augmentation", {"class_path": "builtins.eval"}, "'builtins.eval' as model.augmentation"),
        ("evaluation", None, "None as evaluation"),
        ("evaluation/architectures", "os.system", "'os.system' as evaluation.architectures"),
        ("evaluation/architectures", ["os.system"], r"'os.system' as evaluation.architectures\[0\]"),
        ("evaluation/architectures", [[{"class_path": "os.system"}]], "'os.system' as evaluation"),
        ("evaluation/protocol", {"class_path": "os.system"}, "'os.system' as evaluation.protocol"),
        ("evaluation/protocol/epochs", "os.system", "'os.system' as evaluation.protocol.epochs"),
        ("evaluation/protocol/" + "x" * 500, 1, "'xxx"),
        ("seed_everything", "os.system", "'os.system' as seed_everything"),
    ],
)
def test_nothing_else_is_taken(place: str, value: Any, named: str) -> None:
    with pytest.raises(UserError, match=rf"has {named}.*, which is not rtp's own and could run any code: .* --config"):
        config_for_test(changed(place, value))


def test_a_configuration_without_end_is_refused() -> None:
    value: Any = "os.system"
    for _ in range(900):
        value = [value]
    with pytest.raises(UserError):
        config_for_test(changed("evaluation/architectures", value))


def test_every_class_can_be_checked() -> None:
    for cls in OWN_CLASSES.values():
        with pytest.raises(UserError):
            _check_arguments("it", {"no_such_argument": 1}, cls)


def test_no_class_of_torch_is_left_in_a_configuration() -> None:
    """What `rtp fit` records of torch's classes must not stand in the way of the file's own test."""
    of_torch = {
        name
        for cls in OWN_CLASSES.values()
        if isinstance(cls, type) and issubclass(cls, Distillation)
        for name, hint in constructor_arguments(cls).items()
        if "torch.optim" in str(hint)
    }
    assert of_torch == {"optimizer", "lr_scheduler"}
    assert of_torch < set(UNUSED)
