"""Which options a command has when the configuration comes from a checkpoint; what it holds is seen in test_cli.py."""

from pathlib import Path

import pytest
import torch

from rtp.cli.stored_config import with_stored_config
from rtp.errors import UserError


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["fit", "--ckpt_path", "last.ckpt"],
        ["test", "--data.seed", "1"],
    ],
)
def test_other_options_are_left_alone(options: list[str]) -> None:
    assert with_stored_config(options) == (options, None)


def test_a_configuration_file_comes_before_that_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}}, checkpoint)
    options = ["test", "--config", "a.yaml", "--ckpt_path", str(checkpoint)]
    assert with_stored_config(options) == (options, None)
    checkpoint.write_bytes(b"half")
    with pytest.raises(UserError, match=r"last.ckpt is damaged or not a checkpoint"):
        with_stored_config(options)


def test_two_memories_are_refused() -> None:
    with pytest.raises(UserError, match=r"--memory a.rtp and --ckpt_path b.ckpt are two memories: give one of them"):
        with_stored_config(["test", "--memory", "a.rtp", "--ckpt_path", "b.ckpt"])
