"""The trusted parts of a configuration in a checkpoint or a memory file.

Building a run imports and calls the classes that its configuration names: in an untrusted file anything installed,
`os.system` included. So a file may name only rtp's own classes, with arguments that cannot name another class; other
classes need the user's own configuration, given with `--config`.
"""

from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin

import yaml

from rtp.artefact.entries import shown
from rtp.callbacks import MemoryPictures
from rtp.cli.short_names import register_short_names
from rtp.cli.signatures import constructor_arguments
from rtp.datamodules import ImageDataModule
from rtp.errors import UserError
from rtp.evaluation.base import EvaluationSettings
from rtp.modules import Distillation

UNUSED = ("inner_optimizer", "optimizer", "lr_scheduler")
"""Arguments of the module that a test does not need; the outer optimizer and its schedule are classes of torch."""

RENAMED = {
    "together": "vmapped",
    "networks_at_once": "chunk_size",
    "kept_gigabytes": "activation_cache_gb",
    "rtp.modules.ImageAddressing": "rtp.modules.ImageAddressedMemory",
}
"""Former names of settings and classes; files with them are tested as before."""

MOST_WORK = {
    "epochs": 10_000,
    "networks": 1_000,
    "validation_networks": 1_000,
    "batch_size": 1_000_000,
    "width": 4_096,
    "widths": 4_096,
    "hidden_width": 65_536,
    "depth": 32,
    "num_steps": 10_000,
    "chunk_size": 1_000_000,
    "num_bases": 10_000_000,
    "images_per_class": 1_000_000,
    "total_bytes": 10_000_000_000,
    "bits_per_class": 10_000_000_000,
    "tasks": 100_000,
    "max_images": 1_000,
    "max_classes": 1_000,
}
"""Largest values of settings that decide how long a test takes: ten times those of any configuration here, or more."""

OWN_CLASSES = register_short_names()
"""Classes that a file may name, by the paths that checkpoints record."""


def config_for_test(config: dict[str, Any], lift_limits: bool = False) -> str:
    """Select and check what `validate`, `test` and `predict` need from a file's untrusted configuration.

    Args:
        config: As in the file.
        lift_limits: Whether the file may ask for more work than `MOST_WORK`.

    Returns:
        YAML text with the seed, model, data, evaluation and, if present, the settings of the pictures.

    Raises:
        UserError: If a part is missing, anything in it is not one of rtp's classes or a plain value for them, or it
            asks for too much work.
    """
    config = _renamed(config)
    seed = config.get("seed_everything", 0)
    if not isinstance(seed, int):
        raise _refusal("seed_everything", seed)
    names = [name for name in ("model", "data", "evaluation", "pictures") if name in config or name != "pictures"]
    for name in names:
        if not isinstance(config.get(name), dict):
            raise _refusal(name, config.get(name))
    taken = {"seed_everything": seed} | {name: config[name] for name in names}
    if isinstance(arguments := taken["model"].get("init_args"), dict):
        kept = {name: value for name, value in arguments.items() if name not in UNUSED}
        taken["model"] = taken["model"] | {"init_args": kept}
    _check("model", taken["model"], Distillation)
    check_data(taken["data"])
    _check_arguments("evaluation", taken["evaluation"], EvaluationSettings)
    _check_arguments("pictures", taken.get("pictures", {}), MemoryPictures)
    if not lift_limits:
        _check_work("", taken)
    return yaml.safe_dump(taken)


def _check_work(place: str, value: Any, most: float | None = None) -> None:
    """Refuse a setting above its limit."""
    if isinstance(value, dict):
        for name, part in value.items():
            _check_work(f"{place}.{name}".lstrip("."), part, MOST_WORK.get(name))
    elif isinstance(value, list):
        for part in value:
            _check_work(place, part, most)
    elif most is not None and isinstance(value, (int, float)) and not value <= most:
        raise UserError(
            f"the file asks for {place} {value:g}, more than {most:,}: give a value of your own as --{place}, after "
            "--lift_limits"
        )


def check_data(data: Any) -> None:
    """Raise UserError unless the data set in a file's configuration is one of rtp's, with plain values."""
    _check("data", data, ImageDataModule)


def _renamed(value: Any, levels: int = 20) -> Any:
    """A configuration with today's names, down to more levels than rtp's have: one may contain itself."""
    if levels and isinstance(value, dict):
        return {RENAMED.get(key, key): _renamed(part, levels - 1) for key, part in value.items()}
    if levels and isinstance(value, list):
        return [_renamed(part, levels - 1) for part in value]
    return RENAMED.get(value, value) if isinstance(value, str) else value


def _check(place: str, value: Any, hint: Any) -> None:
    """Refuse a value that could name code where a value of the hint's type is expected."""
    if value is None or isinstance(value, (bool, int, float)):
        return
    # the types of a union, or the only type
    members = (hint,) if not get_args(hint) or get_origin(hint) in (Literal, list, tuple) else get_args(hint)
    if isinstance(value, list):
        items = [get_args(member)[0] for member in members if get_origin(member) in (list, tuple)]
        for index, item in enumerate(value):
            _check(f"{place}[{index}]", item, items[0] if items else None)
    elif isinstance(value, str):
        # where a class or a function is expected, a string would be its name
        if not any(
            member is str or (get_origin(member) is Literal and value in get_args(member)) for member in members
        ):
            raise _refusal(place, value)
    elif isinstance(value, dict) and set(value) <= {"class_path", "init_args"} and "class_path" in value:
        path, arguments = value["class_path"], value.get("init_args") or {}
        if not isinstance(path, str) or path not in OWN_CLASSES or not isinstance(arguments, dict):
            raise _refusal(place, path)
        _check_arguments(place, arguments, OWN_CLASSES[path])
    elif isinstance(value, dict) and (records := [member for member in members if is_dataclass(member)]):
        _check_arguments(place, value, records[0])
    else:
        raise _refusal(place, value)


def _check_arguments(place: str, arguments: dict[str, Any], cls: Any) -> None:
    taken = constructor_arguments(cls)
    for name, value in arguments.items():
        if name not in taken:
            raise _refusal(place, name)
        _check(f"{place}.{name}", value, taken[name])


def _refusal(place: str, value: Any) -> UserError:
    what = shown(value, 60) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
    return UserError(
        f"the file's configuration has {what} as {place[:60]}, which is not rtp's own and could run any code: "
        "give what you trust, with --config or, to export, --data"
    )
