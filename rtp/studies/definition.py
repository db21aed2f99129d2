"""Study files: which settings a study compares, at which sizes and with which seeds."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rtp.errors import UserError
from rtp.studies.table import Row

Options = Mapping[str, Any]
"""Options of `rtp fit` and their values: `{"model.unroll.num_steps": 10}`."""

FAST = "fast"
"""The size of `--fast`."""

CONFIG = "config"
"""The option of a setting that names a configuration file, as a learner's, beside those that all settings share."""

SEEDED = ("evaluation.seed",)
"""Options that are a run's seed, beside `seed_everything`; or else random real images and networks would not vary."""


@dataclass(frozen=True)
class Search:
    """What `rtp sweep` looks for.

    Attributes:
        axis: Its short name, in settings and figures: K.
        option: Option of `rtp fit`.
        values: Its values, whole numbers in ascending order.
    """

    axis: str
    option: str
    values: tuple[int, ...]

    def setting(self, value: int) -> str:
        """The name of the setting that tries a value."""
        return f"{self.axis}={value}"


@dataclass(frozen=True)
class Plan:
    """A study at one of its sizes.

    Attributes:
        study: Name of the study, the stem of its file.
        size: Name of the size.
        bases: Configuration files that its runs start from.
        options: What all runs of this size change in them.
        seeds: Seeds of the runs.
        seeded: Options that are a run's seed, beside `seed_everything`.
        settings: Names of what is compared, with what each one changes; empty for a sweep.
        search: What a sweep looks for; none in a study.
    """

    study: str
    size: str
    bases: tuple[Path, ...]
    options: Options
    seeds: tuple[int, ...]
    seeded: tuple[str, ...]
    settings: Mapping[str, Options]
    search: Search | None

    def named(self, setting: str) -> Options:
        """The options of a setting, or of a value that a sweep tries."""
        return self.settings.get(setting, {})


@dataclass(frozen=True)
class Run:
    """A setting of a study with one seed.

    Attributes:
        plan: The study and its size.
        setting: Name of the setting, or of a value of a sweep.
        options: What the setting changes beside the plan's options.
        seed: Seed of the run.
        folder: The run's folder.
    """

    plan: Plan
    setting: str
    options: Options
    seed: int
    folder: Path

    @property
    def arguments(self) -> list[str]:
        """What `rtp fit` is given for a run that starts."""
        bases = [f"--config={base}" for base in self.plan.bases]
        seeds = [f"--{name}={self.seed}" for name in ("seed_everything", *self.plan.seeded)]
        return [*bases, *self.changes, *seeds, f"--run_dir={self.folder}"]

    @property
    def changes(self) -> list[str]:
        """Its configuration file, where it has one, and its options, the setting's after those of the size."""
        own = {name: value for name, value in self.options.items() if name == CONFIG}
        others = {name: value for name, value in self.options.items() if name != CONFIG}
        return [*option_arguments(own), *option_arguments(self.plan.options), *option_arguments(others)]

    def owns(self, row: Row) -> bool:
        """Whether a row of the table is one of this run's."""
        theirs = (row.study, row.size, row.setting, row.seed)
        return theirs == (self.plan.study, self.plan.size, self.setting, self.seed)


def make_run(plan: Plan, setting: str, seed: int, root: Path, options: Options | None = None) -> Run:
    """A run with its place in the folder of all studies.

    Args:
        plan: The study and its size.
        setting: Name of the setting.
        seed: Seed.
        root: The folder of all studies.
        options: What the setting changes; by default what the plan says.
    """
    folder = root / plan.study / plan.size / setting / f"seed{seed}"
    return Run(plan, setting, plan.named(setting) if options is None else options, seed, folder)


def read_study(path: Path, size: str | None = None) -> Plan:
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
        size: Name of one of its sizes; by default the first.

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
    chosen = next(iter(plans)) if size is None else size
    if chosen not in plans:
        raise UserError(f"{place} has no size {chosen!r}: use one of {', '.join(plans)}")
    return plans[chosen]


def option_arguments(options: Options) -> list[str]:
    """Options as arguments of a command line: a class comes before its own arguments."""
    return [
        f"--{name}={options[name] if isinstance(options[name], str) else json.dumps(options[name], allow_nan=False)}"
        for name in sorted(options, key=lambda name: name.count("."))
    ]


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
