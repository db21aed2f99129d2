"""Loading checkpoints, finding the one to resume from, and the configuration they contain."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from rtp.errors import UserError, first_line

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
"""Files of a run's folder: the best validated memory, the checkpoint to resume from, and the one before."""
CONFIG_KEY = "rtp_config"
"""Where a checkpoint holds the resolved configuration, as YAML text."""
KEPT = ("seed_everything", "model", "data", "evaluation", "pictures")
"""Parts of a configuration that do not depend on the machine."""
RESUMED = {"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list}
"""Lightning's entries of a checkpoint for resuming, besides the module's tensors, and their types."""
MAX_CONFIG = 2**20
"""Characters of a configuration in a checkpoint; rtp's take some 5,000."""
MAX_DEPTH = 50
"""Levels of a configuration in a checkpoint; rtp's have some 6."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a Lightning checkpoint without executing any code in it.

    Raises:
        UserError: If the file is missing, truncated or no checkpoint; names a good one of the same folder.
    """
    try:
        return _load(path)
    except UserError as error:
        raise UserError(f"{error}: {_advice(path)}") from error


def checkpoint_config(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The machine-independent configuration in a checkpoint: seed, model, data, evaluation and pictures, keys sorted.

    Raises:
        UserError: If the checkpoint is not from rtp; names its path.
    """
    if not {CONFIG_KEY, "global_step"} <= set(checkpoint):
        raise UserError(f"{path} was not written by `rtp fit`: give its configuration with --config")
    config = load_stored_yaml(checkpoint[CONFIG_KEY], f"the configuration in {path}")
    if missing := [key for key in KEPT if key not in config]:
        raise UserError(f"the configuration in {path} has no {missing[0]}: give its configuration with --config")
    kept = {key: config[key] for key in KEPT}
    return yaml.safe_load(yaml.safe_dump(kept))  # sorted, whatever the order of the options


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, a few bytes of which can stand for gigabytes, and without deep nesting, which is slow."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias, which rtp never writes")
        if self._depth == MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {MAX_DEPTH} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def load_stored_yaml(text: object, what: str) -> dict[str, Any]:
    """Parse the YAML of a configuration in a file that anybody may have made.

    Args:
        text: The YAML, at most `MAX_CONFIG` characters, whose top level is a mapping of names.
        what: Its name in messages.

    Raises:
        UserError: If it is anything else, or has aliases.
    """
    if not isinstance(text, str) or len(text) > MAX_CONFIG:
        raise UserError(f"{what} is no text of at most {MAX_CONFIG:,} characters: use a file of rtp")
    try:
        config = yaml.load(text, _PlainLoader)  # a subclass of the safe loader
    # ValueError: a date or number out of range; TypeError: a mapping as a key
    except (yaml.YAMLError, ValueError, TypeError, LookupError) as error:
        raise UserError(f"{what} cannot be read ({first_line(error)}): use a file of rtp") from error
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise UserError(f"{what} is no list of settings: use a file of rtp")
    return config


def steps_done(path: Path) -> int:
    """Check that a run can be resumed from a checkpoint, and return its outer steps.

    Raises:
        UserError: If the file is missing, truncated or not from `rtp fit`; names a good one of the same folder.
    """
    checkpoint = load_checkpoint(path)
    if missing := [key for key in ("global_step", *RESUMED, CONFIG_KEY) if key not in checkpoint]:
        raise UserError(f"{path} was not written by `rtp fit`, it has no {missing[0]}: {_advice(path)}")
    for key, kind in RESUMED.items():
        if not isinstance(checkpoint[key], kind):
            raise UserError(f"{path} is damaged, its {key} is a {type(checkpoint[key]).__name__}: {_advice(path)}")
    return int(checkpoint["global_step"])


def last_checkpoint(folders: Sequence[Path]) -> tuple[Path, int, str]:
    """The checkpoint to resume from: `last.ckpt` of the first folder that has one, or else its `previous.ckpt`.

    Args:
        folders: Folders of runs, the newest first.

    Returns:
        The file, its outer steps, and the error of a damaged `last.ckpt` or "".

    Raises:
        UserError: If no folder has a checkpoint yet, or both of the first folder that has one are damaged.
    """
    for folder in folders:
        last, previous = folder / LAST, folder / PREVIOUS
        if last.is_file():
            try:
                return last, steps_done(last), ""
            except UserError as error:
                try:
                    return previous, steps_done(previous), str(error).partition(":")[0]
                except UserError:
                    raise error from None
        if previous.is_file():  # the run was killed between two renamings
            return previous, steps_done(previous), ""
    where = ", ".join(map(str, folders[:1])) or "this folder's logs"
    raise UserError(f"there is no checkpoint in {where} yet: start the run without --ckpt_path, in another --run_dir")


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"there is no checkpoint {str(path)!r}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of kinds of tensors that are refused below
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any error of the unpickler or the zip reader
        raise UserError(f"{path} is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint")
    _check_numbers(path, checkpoint)
    return checkpoint


def _check_numbers(path: Path, checkpoint: dict[str, Any]) -> None:
    """Refuse what torch can read and rtp never writes: a state that is not of plain, finite tensors, odd steps."""
    step, state = checkpoint.get("global_step", 0), checkpoint["state_dict"]
    if type(step) is not int or not 0 <= step < 2**63:
        raise UserError(f"{path} is damaged, its global_step is {step!r:.40}")
    if not isinstance(state, dict):
        raise UserError(f"{path} is damaged, its state_dict is a {type(state).__name__}")
    for name, tensor in state.items():
        odd = not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided
        if odd or tensor.is_meta or tensor.is_quantized:
            raise UserError(f"{path} is damaged, its tensor {name!r:.40} is not one that rtp writes")
        # expanded tensors: a few bytes that stand for gigabytes
        if tensor.numel() > max(1, tensor.untyped_storage().nbytes() // tensor.element_size()):
            raise UserError(f"{path} is damaged, its tensor {name!r:.40} has more numbers than the file")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{path} holds NaN or infinite numbers in {name!r:.40}")


def _advice(path: Path) -> str:
    for other in (path.with_name(LAST), path.with_name(PREVIOUS)):
        try:
            checkpoint = _load(other)
        except UserError:
            continue
        if other != path and {CONFIG_KEY, "global_step"} <= set(checkpoint):
            return f"use {other}, of step {checkpoint['global_step']}"
    return "give the path of a .ckpt file of a run"


def flat_settings(config: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """Flatten a resolved configuration to what TensorBoard's HPARAMS page can show.

    Names are dotted, without `class_path` and `init_args`; class names are without modules; empty values are left out.
    """
    flat: dict[str, bool | int | float | str] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(prefix if key in ("class_path", "init_args") else f"{prefix}.{key}".lstrip("."), inner)
        elif isinstance(value, (bool, int, float, str)):
            flat[prefix] = value.rsplit(".", 1)[-1] if isinstance(value, str) and "/" not in value else value
        elif isinstance(value, list):
            flat[prefix] = ", ".join(str(item) for item in value)

    for section in ("model", "data", "evaluation"):
        add(section, config.get(section))
    flat["seed_everything"] = config["seed_everything"]
    return flat
