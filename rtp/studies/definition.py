"""Study files: which settings a study compares, at which sizes and with which seeds."""

# mypy: disable-error-code="type-arg"

import itertools
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
import yaml
from jsonargparse.typing import NonNegativeInt

from rtp.cli.parse_errors import user_errors
from rtp.errors import UserError
from rtp.studies.plan import CONFIG, Options, Plan, Search

FAST = "fast"
"""The size of `--fast`."""

Given = dict  # without types of its values: jsonargparse leaves them as YAML has read them
Settings = Mapping[str, Options | None]
Part = TypeVar("Part")


@dataclass(kw_only=True)
class Comparison:
    """Part of a study file that the whole study and each size may have.

    Attributes:
        seeds: Seeds of the runs.
        settings: Names of settings and the options of each; null removes one.
        grid: Axes, each of labels and the options of each, whose combinations are settings.
    """

    seeds: list[NonNegativeInt] | None = None
    settings: dict[str, Given | None] = field(default_factory=dict)
    grid: dict[str, dict[str, Given | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise UserError(f"seeds is {self.seeds}: list distinct whole numbers from 0, such as [0, 1, 2]")


@dataclass(kw_only=True)
class StudyFile(Comparison):
    """A study file.

    Attributes:
        sizes: Names of the sizes and the `SizeOfStudy` of each.
        seeded: Options that are set to a run's seed, beside `seed_everything`. The default draws the real images and
            the networks of the evaluation by it.
    """

    sizes: dict[str, Given]
    seeded: list[str] = field(default_factory=lambda: ["evaluation.seed"])


@dataclass(kw_only=True)
class SizeOfStudy(Comparison):
    """A study at one size.

    Attributes:
        base: Configuration file or files, relative to the study's file.
        options: Options of all runs.
        search: The search of a file for `rtp sweep`, which has no settings and no grid.
    """

    base: str | list[str]
    options: Given = field(default_factory=dict)
    search: Search | None = None


def read_study(path: Path, size: str | None) -> Plan:
    """Read a study file and check all of it.

    The file is a `StudyFile`. Combinations of a grid are settings named "axis=label, axis=label", to which `settings`
    add. An option `config` of a setting is a file beside the study's, which is read after those of the base. The
    settings and the grid of a size add to the study's or change them option by option; its seeds replace the study's.

    Args:
        path: A YAML file.
        size: Name of one of its sizes; None is refused with their names, as no size fits everybody.

    Raises:
        UserError: If there is no such file or size, or something in the file is unknown or of the wrong kind.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or "it is not text"
        raise UserError(
            f"cannot read the study file {str(path)!r} ({problem}): name one of configs/studies/"
        ) from error
    study = _parsed(str(path), StudyFile, content)
    plans = {name: _plan(path, name, own, study) for name, own in study.sizes.items()}
    if size is None:
        fast = f", or --{FAST}" if FAST in plans else ""
        raise UserError(f"name one of the sizes of {path} with --size: {', '.join(plans)}{fast}")
    if size not in plans:
        raise UserError(f"{path} has no size {size!r}: use one of {', '.join(plans)}")
    return plans[size]


def _parsed(place: str, kind: type[Part], value: Any) -> Part:
    """A part of a study file as its dataclass; errors name its place."""
    if not isinstance(value, dict):
        raise UserError(f"{place} is {value!r}, but must be a mapping of names to values")
    _check_text(place, value)
    known = [part.name for part in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in value if name not in known]:  # jsonargparse overlooks those that are empty
        raise UserError(f"{place}: {unknown[0]!r} is not known; use {', '.join(known)}")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    try:
        with user_errors():
            return kind(**vars(parser.instantiate_classes(parser.parse_object(deepcopy(value)))))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _plan(path: Path, name: str, value: Any, study: StudyFile) -> Plan:
    place = f"{path}: sizes.{name}"
    _check_name(place, name)
    own = _parsed(place, SizeOfStudy, value)
    bases = tuple(path.parent / base for base in ([own.base] if isinstance(own.base, str) else own.base))
    if missing := [base for base in bases if not base.is_file()]:
        raise UserError(f"{place}.base: there is no file {str(missing[0])!r}; give it relative to the study's file")
    settings = {
        setting: _with_config(f"{place}.{setting}", path, options)
        for setting, options in _settings(path, place, own, study).items()
    }
    if bool(settings) == bool(own.search):
        has = "both" if settings else "none"
        raise UserError(f"{place} needs either settings, or a grid, or a search: it has {has}")
    if (seeds := own.seeds or study.seeds) is None:
        raise UserError(f"{path} has no seeds: list whole numbers from 0, such as seeds: [0, 1, 2]")
    return Plan(
        study=path.stem,
        size=name,
        bases=bases,
        options=own.options,
        seeds=tuple(seeds),
        seeded=tuple(study.seeded),
        settings=settings,
        search=own.search,
    )


def _with_config(place: str, path: Path, options: Options) -> Options:
    """Options with the place of their configuration file, where they have one."""
    if CONFIG not in options:
        return options
    config = path.parent / str(options[CONFIG])
    if not config.is_file():
        raise UserError(f"{place}.{CONFIG}: there is no file {str(config)!r}; give it relative to the study's file")
    return {**options, CONFIG: str(config)}


def _settings(path: Path, place: str, own: Comparison, study: Comparison) -> dict[str, Options]:
    axes: dict[str, dict[str, Options]] = {}
    for where, grid in ((f"{path}: grid", study.grid), (f"{place}.grid", own.grid)):
        for axis, labels in grid.items():
            _check_name(where, axis)
            axes[axis] = _merged(f"{where}.{axis}", axes.get(axis, {}), labels)
    settings: dict[str, Options] = combinations(axes) if axes else {}
    settings = _merged(f"{path}: settings", settings, study.settings)
    return _merged(f"{place}.settings", settings, own.settings)


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


def _merged(place: str, named: Mapping[str, Options], changes: Settings) -> dict[str, Options]:
    """Sets of options with some changed, some added and those that are null removed."""
    merged = dict(named)
    for name, options in changes.items():
        _check_name(place, name)
        if options is not None:
            merged[name] = {**merged.get(name, {}), **options}
        elif merged.pop(name, None) is None:
            raise UserError(f"{place} leaves out {name!r}, which is not there; there are {'; '.join(named)}")
    return merged


def _check_name(place: str, name: str) -> None:
    # names are those of folders, of lines in a table and of arguments
    if not name or name[0] in ".-" or not name.isprintable() or set(name) & set('/\\"'):
        raise UserError(f"{place}: the name {name!r} cannot name a folder; use letters, numbers, spaces and =")


def _check_text(place: str, value: Any) -> None:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if not isinstance(name, str):
            raise UserError(f"{place}: the name {name!r} is not text; put it in quotes")
        _check_text(f"{place}.{name}", inner)
