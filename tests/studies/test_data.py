"""The data module of a configuration, by which rows are named."""

from typing import Any

import pytest

from rtp.datamodules import Digits
from rtp.errors import UserError
from rtp.studies.data import built_data

FACES = {"class_path": "rtp.datamodules.HuggingFace", "init_args": {"path": "somebody/CIFAR10", "zca": 0.1}}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"class_path": "CIFAR100"}, "cifar100"),
        (FACES, "cifar10"),
        ({"class_path": "rtp.datamodules.ImageFolder", "init_args": {"folder": "mine/Shells"}}, "shells"),
        ({"class_path": "PermutedTasks", "init_args": {"source": FACES, "tasks": 3}}, "permuted_cifar10"),
    ],
)
def test_a_name_is_the_data_modules_own(part: dict[str, Any], name: str) -> None:
    assert built_data(part).name == name


def test_options_change_it() -> None:
    data = built_data({"class_path": "CIFAR100", "init_args": {"seed": 3}}, {"data": "Digits", "data.batch_size": 7})
    assert isinstance(data, Digits)
    assert (data.seed, data.batch_size) == (3, 7)


def test_what_rtp_fit_refuses_is_said_in_a_line() -> None:
    with pytest.raises(UserError, match="colour") as caught:
        built_data({"class_path": "Digits"}, {"data.colour": 1})
    assert "\n" not in str(caught.value)
