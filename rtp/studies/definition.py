"""Study files: which settings a study compares, at which sizes and with which seeds."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rtp.errors import UserError
from rtp.studies.plan import CONFIG, Options, Plan, Search

FAST = "fast"
"""The size of `--fast`."""

SEEDED = ("evaluation.seed",)
"""Options that are a run's seed, beside `seed_everything`; or else random real images and networks would not vary."""


def read_study(path: Path, size: str | None) -> Plan:
    """Read a study file, which is checked as a whole.

    The file has `sizes`, each with a `base` (one configuration file or a list of them, relative to the study's file),
    and either `settings` (names and the options of each) or a `grid` (axes, each of labels and the options of each),
    whose combinations are settings named "axis=label, axis=label". With both, `settings` add to those of the grid. An
    option `config` of a setting is a file beside the study's, which is read after those of the base. `seeded` lists
    options that are a run's seed, in place of `evaluation.seed`.

    A size may have `options` for all of its runs, `seeds` in place of the study's, and `settings` and `grid` of its
    own, which add to the study's or change them option by option; what is null is left out. A file for `rtp sweep` has
    a `search` in each size in place of settings.

    Args:
        path: A YAML file.
        size: Name of one of its sizes; None is refused with their names, as none of them is fit for everybody.

    Raises:
        UserError: If there is no such file or size, or something in the file is unknown or of the wrong kind.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or "it is no text"
        raise UserError(
            f"cannot read the study file {str(path)!r} ({problem}): name one of configs/studies/"
        ) from error
    place = str(path)
    _check_keys(place, content, ("seeds", "seeded", "sizes", "settings", "grid"), needed=("sizes",))
    sizes = _mapping(f"{place}: sizes", content["sizes"])
    plans = {name: _plan(path, name, own, content) for name, own in sizes.items()}
    if size is None:
        fast = f", or --{FAST}" if FAST in plans else ""
        raise UserError(f"name one of the sizes of {place} with --size: {', '.join(plans)}{fast}")
    if size not in plans:
        raise UserError(f"{place} has no size {size!r}: use one of {', '.join(plans)}")
    return plans[size]


def _plan(path: Path, name: str, own: Any, study: Mapping[str, Any]) -> Plan:
    place = f"{path}: sizes.{name}"
    _check_name(place, name)
    _check_keys(place, own, ("base", "options", "seeds", "settings", "grid", "search"), needed=("base",))
    listed = own["base"] if isinstance(own["base"], list) else [own["base"]]
    bases = tuple(path.parent / str(base) for base in listed)
    if missing := [base for base in bases if not base.is_file()]:
        raise UserError(f"{place}.base: there is no file {str(missing[0])!r}; it is sought beside the study's file")
    search = _search(f"{place}.search", own["search"]) if "search" in own else None
    settings = {
        setting: _with_config(f"{place}.{setting}", path, options)
        for setting, options in _settings(path, place, own, study).items()
    }
    if bool(settings) == bool(search):
        raise UserError(f"{place} needs either settings, or a grid, or a search: it has {'both' if search else 'none'}")
    return Plan(
        study=path.stem,
        size=name,
        bases=bases,
        options=_mapping(f"{place}.options", own.get("options", {})),
        seeds=_seeds(f"{place}.seeds", own["seeds"])
        if "seeds" in own
        else _seeds(f"{path}: seeds", study.get("seeds")),
        seeded=_seeded(f"{path}: seeded", study.get("seeded", list(SEEDED))),
        settings=settings,
        search=search,
    )


def _with_config(place: str, path: Path, options: Options) -> Options:
    """Options with the place of their configuration file, where they have one."""
    if CONFIG not in options:
        return options
    config = path.parent / str(options[CONFIG])
    if not config.is_file():
        raise UserError(f"{place}.{CONFIG}: there is no file {str(config)!r}; it is sought beside the study's file")
    return {**options, CONFIG: str(config)}


def _settings(path: Path, place: str, own: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, Options]:
    axes: dict[str, dict[str, Options]] = {}
    for where, grid in ((f"{path}: grid", study.get("grid", {})), (f"{place}.grid", own.get("grid", {}))):
        for axis, labels in _mapping(where, grid).items():
            _check_name(where, axis)
            axes[axis] = _merged(f"{where}.{axis}", axes.get(axis, {}), labels)
    settings: dict[str, Options] = combinations(axes) if axes else {}
    settings = _merged(f"{path}: settings", settings, study.get("settings", {}))
    return _merged(f"{place}.settings", settings, own.get("settings", {}))


def combinations(axes: Mapping[str, Mapping[str, Options]]) -> dict[str, Options]:
    """All combinations of the labels of some axes, the last axis varying fastest.

    Args:
        axes: For each axis its labels and their options.

    Returns:
        Settings named "axis=label, axis=label" with the options of all of their labels.
    """
    settings: dict[str, Options] = {}
    for labels in itertools.product(*axes.values()):
        name = ", ".join(f"{axis}={label}" for axis, label in zip(axes, labels, strict=True))
        parts = (axes[axis][label] for axis, label in zip(axes, labels, strict=True))
        settings[name] = {option: value for part in parts for option, value in part.items()}
    return settings


def _merged(place: str, named: Mapping[str, Options], changes: Any) -> dict[str, Options]:
    """Sets of options with some changed, some added and those that are null left out."""
    merged = dict(named)
    for name, options in _mapping(place, changes).items():
        _check_name(place, name)
        if options is not None:
            merged[name] = {**merged.get(name, {}), **_mapping(f"{place}.{name}", options)}
        elif merged.pop(name, None) is None:
            raise UserError(f"{place} leaves out {name!r}, which is not there; there are {'; '.join(named)}")
    return merged


def _search(place: str, value: Any) -> Search:
    _check_keys(place, value, ("axis", "option", "values"), needed=("axis", "option", "values"))
    _check_name(f"{place}.axis", str(value["axis"]))
    values = value["values"]
    if not isinstance(values, list) or not values or not all(_whole(number) and number > 0 for number in values):
        raise UserError(f"{place}.values is {values!r}, but must be a list of whole numbers above 0, such as [8, 16]")
    if sorted(set(values)) != values:
        raise UserError(f"{place}.values is {values}, but must be in ascending order: {sorted(set(values))}")
    return Search(str(value["axis"]), str(value["option"]), tuple(values))


def _seeds(place: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(_whole(seed) and seed >= 0 for seed in value):
        raise UserError(f"{place} is {value!r}, but must be a list of whole numbers from 0, such as [0, 1, 2]")
    if len(set(value)) != len(value):
        raise UserError(f"{place} is {value}: leave out the repeated one")
    return tuple(value)


def _seeded(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{place} is {value!r}, but must be a list of options, such as [data.seed]")
    return tuple(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_name(place: str, name: str) -> None:
    # names are those of folders, of lines in a table and of arguments
    if not name or name[0] in ".-" or not name.isprintable() or set(name) & set('/\\"'):
        raise UserError(f"{place}: the name {name!r} is no name of a folder; use letters, numbers, spaces and =")


def _check_keys(place: str, value: Any, known: Sequence[str], needed: Sequence[str]) -> None:
    for name in _mapping(place, value):
        if name not in known:
            raise UserError(f"{place}: {name!r} is not known; use {', '.join(known)}")
    if missing := [name for name in needed if name not in value]:
        raise UserError(f"{place} has no {missing[0]!r}, which it needs")


def _mapping(place: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{place} is {value!r}, but must be a mapping of names to values")
    if wrong := [name for name in value if not isinstance(name, str)]:
        raise UserError(f"{place}: the name {wrong[0]!r} is not text; put it in quotes")
    return value
