"""The configuration of a checkpoint or a memory's file, put in front of the options of a command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from rtp.cli.memory_file import memory_config
from rtp.cli.trusted_config import config_for_test
from rtp.errors import UserError
from rtp.runs.checkpoints import checkpoint_config


def with_checkpoint_config(args: Sequence[str]) -> list[str]:
    """Put the configuration of a checkpoint or a memory's file in front of the other options.

    Args:
        args: Command-line arguments, the subcommand first.

    Returns:
        The same arguments if there is a `--config` among them, or neither of `--memory` and `--ckpt_path`, or another
        command than `validate`, `test` and `predict`; otherwise with the memory, data and evaluation of the run that
        wrote the file, which the other arguments override.

    Raises:
        UserError: If the file is none of rtp, both are given, or the file names classes that are not rtp's own.
    """
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    options.add_argument("-c", "--config")
    options.add_argument("--ckpt_path")
    options.add_argument("--memory")
    options.add_argument("--data")
    known, _ = options.parse_known_args(args)
    if known.memory and known.ckpt_path:
        raise UserError(f"--memory {known.memory} and --ckpt_path {known.ckpt_path} are two memories: give one of them")
    if args and args[0] == "test" and known.memory and not known.config:
        return [args[0], "--config", memory_config(Path(known.memory), known.data), *args[1:]]
    if not args or args[0] not in ("validate", "test", "predict") or known.config or not known.ckpt_path:
        return list(args)
    stored = yaml.safe_load(checkpoint_config(Path(known.ckpt_path)))
    return [args[0], "--config", config_for_test(stored), *args[1:]]
