"""Which parts of a configuration in a checkpoint or a memory file are trusted.

A configuration names classes, and building a run imports and calls them: in an untrusted file these could be anything
that is installed, `os.system` included. So a file may name only rtp's own classes, with arguments that cannot name
another class; other classes need the user's own configuration, given with `--config`.
"""

from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin

import yaml

from rtp.callbacks import MemoryPictures
from rtp.cli.short_names import register_short_names
from rtp.cli.signatures import constructor_arguments
from rtp.datamodules import ImageDataModule
from rtp.errors import UserError
from rtp.evaluation.base import EvaluationSettings
from rtp.modules import Distillation

UNUSED = ("inner_optimizer", "optimizer")
"""Arguments of the module that a test does not need; the outer optimizer is one of torch's classes."""

RENAMED = {
    "together": "vmapped",
    "networks_at_once": "chunk_size",
    "kept_gigabytes": "activation_cache_gb",
    "rtp.modules.ImageAddressing": "rtp.modules.ImageAddressedMemory",
}
"""Settings and classes of the memory files that were written before these names; such a file is tested as it was."""

OWN_CLASSES = register_short_names()
"""The classes that a file may name, by the paths that checkpoints record."""


def config_for_test(config: dict[str, Any]) -> str:
    """Select and check what `validate`, `test` and `predict` need from a file's configuration.

    Args:
        config: The configuration in a checkpoint or a memory file, which anybody may have written.

    Returns:
        YAML text with the seed, model, data, evaluation and, if present, the settings of the pictures.

    Raises:
        UserError: If a part is missing, or anything in it is not one of rtp's classes or a plain value for them.
    """
    config = _renamed(config)
    seed = config.get("seed_everything", 0)
    if not isinstance(seed, int):
        raise _refusal("seed_everything", seed)
    model, data, evaluation = (_section(config, name) for name in ("model", "data", "evaluation"))
    if isinstance(arguments := model.get("init_args"), dict):
        model = model | {"init_args": {name: value for name, value in arguments.items() if name not in UNUSED}}
    _check("model", model, Distillation)
    check_data(data)
    _check_arguments("evaluation", evaluation, EvaluationSettings)
    taken: dict[str, Any] = {"seed_everything": seed, "model": model, "data": data, "evaluation": evaluation}
    if "pictures" in config:
        taken["pictures"] = _section(config, "pictures")
        _check_arguments("pictures", taken["pictures"], MemoryPictures)
    return yaml.safe_dump(taken)


def check_data(data: Any) -> None:
    """Refuse the data set that a file's configuration names, unless it is one of rtp's.

    Raises:
        UserError: If it is not.
    """
    _check("data", data, ImageDataModule)


def _renamed(value: Any, levels: int = 20) -> Any:
    """A configuration with the present names; none of rtp's has so many levels, and one may contain itself."""
    if levels and isinstance(value, dict):
        return {RENAMED.get(key, key): _renamed(part, levels - 1) for key, part in value.items()}
    if levels and isinstance(value, list):
        return [_renamed(part, levels - 1) for part in value]
    return RENAMED.get(value, value) if isinstance(value, str) else value


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(config.get(name), dict):
        raise _refusal(name, config.get(name))
    return config[name]


def _check(place: str, value: Any, hint: Any) -> None:
    """Refuse a value that could name code where a value of the hint's type is expected."""
    if value is None or isinstance(value, (bool, int, float)):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(f"{place}[{index}]", item, _of_items(hint))
    elif isinstance(value, str):
        # where a class or a function is expected, a string would be its name
        if not any(member is str or value in _literals(member) for member in _members(hint)):
            raise _refusal(place, value)
    elif isinstance(value, dict) and set(value) <= {"class_path", "init_args"} and "class_path" in value:
        path, arguments = value["class_path"], value.get("init_args") or {}
        if not isinstance(path, str) or path not in OWN_CLASSES or not isinstance(arguments, dict):
            raise _refusal(place, path)
        _check_arguments(place, arguments, OWN_CLASSES[path])
    elif isinstance(value, dict) and (records := [member for member in _members(hint) if is_dataclass(member)]):
        _check_arguments(place, value, records[0])
    else:
        raise _refusal(place, value)


def _check_arguments(place: str, arguments: dict[str, Any], cls: Any) -> None:
    taken = constructor_arguments(cls)
    for name, value in arguments.items():
        if name not in taken:
            raise _refusal(place, name)
        _check(f"{place}.{name}", value, taken[name])


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the only type."""
    return (hint,) if not get_args(hint) or get_origin(hint) in (Literal, list, tuple) else get_args(hint)


def _literals(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _of_items(hint: Any) -> Any:
    """The type of a list's items; None if no list is expected."""
    lists = [member for member in _members(hint) if get_origin(member) in (list, tuple)]
    return get_args(lists[0])[0] if lists else None


def _refusal(place: str, value: Any) -> UserError:
    shown = ascii(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
    shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
    return UserError(
        f"the file's configuration has {shown} as {place[:60]}, which is not rtp's own and could run any code: "
        "give what you trust, with --config or, to export, --data"
    )
