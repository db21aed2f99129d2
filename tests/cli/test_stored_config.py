"""Which options a command has when the configuration comes from a checkpoint; what it holds is seen in test_cli.py."""

import pytest

from rtp.cli.stored_config import with_checkpoint_config
from rtp.errors import UserError


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["fit", "--ckpt_path", "last.ckpt"],
        ["test", "--config", "a.yaml", "--ckpt_path", "last.ckpt"],
        ["test", "--data.seed", "1"],
    ],
)
def test_other_options_are_left_alone(options: list[str]) -> None:
    assert with_checkpoint_config(options) == options


def test_two_memories_are_refused() -> None:
    with pytest.raises(UserError, match=r"--memory a.rtp and --ckpt_path b.ckpt are two memories: give one of them"):
        with_checkpoint_config(["test", "--memory", "a.rtp", "--ckpt_path", "b.ckpt"])
