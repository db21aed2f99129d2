"""Study files: the settings that a study compares, its sizes and its seeds."""

# mypy: disable-error-code="type-arg"

import itertools
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
from jsonargparse.typing import NonNegativeInt

from rtp.cli.parse_errors import user_errors
from rtp.errors import UserError
from rtp.studies.plan import CONFIG, Options, Plan, Search, Split, read_yaml

FAST = "fast"
"""The size of `--fast`."""

Given = dict  # untyped values: jsonargparse keeps them as read from YAML
Part = TypeVar("Part")


@dataclass(kw_only=True)
class Comparison:
    """Keys of a study file that both the study and each size accept.

    Attributes:
        seeds: Seeds of the runs.
        settings: Options of each setting, by name; null removes a setting.
        grid: Options of each label, by axis and label; their combinations are settings.
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
        sizes: The `SizeOfStudy` of each size, by name.
        seeded: Options set to a run's seed, in addition to `seed_everything`. The default seeds the evaluation's real
            images and networks.
        split: Where its runs are compared: on the test set, or on the validation split, which leaves the test set
            unread. A sweep always selects on the validation split.
    """

    sizes: dict[str, Given]
    seeded: list[str] = field(default_factory=lambda: ["evaluation.seed"])
    split: Split = "test"


@dataclass(kw_only=True)
class SizeOfStudy(Comparison):
    """A study at one size.

    Attributes:
        base: Configuration file or files, relative to the study's file.
        options: Options of all runs.
        search: Search space for `rtp sweep`; excludes settings and a grid.
    """

    base: str | list[str]
    options: Given = field(default_factory=dict)
    search: Search | None = None


def read_study(path: Path, size: str | None) -> Plan:
    """Read and check a study file, a YAML file with the keys of `StudyFile`.

    Combinations of a grid are settings named "axis=label, axis=label"; `settings` extends them. A setting's option
    `config` names a file relative to the study file, read after the base. A size's settings and grid extend or
    override the study's option by option; its seeds replace the study's.

    Raises:
        UserError: If the file or the size is missing, or a key is unknown or a value has the wrong type.
    """
    study = _parsed(str(path), StudyFile, read_yaml(path, "study file", "name one of configs/studies/"))
    plans = {name: _plan(path, name, own, study) for name, own in study.sizes.items()}
    if size is None:
        fast = f", or --{FAST}" if FAST in plans else ""
        raise UserError(f"name one of the sizes of {path} with --size: {', '.join(plans)}{fast}")
    if size not in plans:
        raise UserError(f"{path} has no size {size!r}: use one of {', '.join(plans)}")
    return plans[size]


def _parsed(place: str, kind: type[Part], value: Any) -> Part:
    """Parse a part of a study file into its dataclass."""
    if not isinstance(value, dict):
        raise UserError(f"{place} is {value!r}, but must be a mapping of names to values")
    _check_text(place, value)
    known = [part.name for part in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in value if name not in known]:  # jsonargparse ignores empty ones
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
    names = [own.base] if isinstance(own.base, str) else own.base
    bases = tuple(_file(f"{place}.base", path, base) for base in names)
    axes: dict[str, dict[str, Options]] = {}
    for where, grid in ((f"{path}: grid", study.grid), (f"{place}.grid", own.grid)):
        for axis, labels in grid.items():
            _check_name(where, axis)
            axes[axis] = _merged(f"{where}.{axis}", axes.get(axis, {}), labels)
    settings = _merged(f"{path}: settings", combinations(axes) if axes else {}, study.settings)
    settings = _merged(f"{place}.settings", settings, own.settings)
    for setting, options in settings.items():
        if CONFIG in options:
            config = _file(f"{place}.{setting}.{CONFIG}", path, options[CONFIG])
            settings[setting] = {**options, CONFIG: str(config)}
    if bool(settings) == bool(own.search):
        has = "both" if settings else "none"
        raise UserError(f"{place} needs either settings, or a grid, or a search: it has {has}")
    if (seeds := own.seeds or study.seeds) is None:
        raise UserError(f"{path} has no seeds: list whole numbers from 0, such as seeds: [0, 1, 2]")
    seeded = tuple(study.seeded)
    return Plan(path.stem, name, bases, own.options, tuple(seeds), seeded, settings, own.search, study.split)


def _file(place: str, study: Path, name: Any) -> Path:
    file = study.parent / str(name)
    if not file.is_file():
        raise UserError(f"{place}: there is no file {str(file)!r}; give it relative to the study's file")
    return file


def combinations(axes: Mapping[str, Mapping[str, Options]]) -> dict[str, Options]:
    """Merge the options of all combinations of labels, named "axis=label, axis=label"; the last axis varies fastest."""
    settings: dict[str, Options] = {}
    for labels in itertools.product(*axes.values()):
        pairs = list(zip(axes, labels, strict=True))
        name = ", ".join(f"{axis}={label}" for axis, label in pairs)
        settings[name] = {option: value for axis, label in pairs for option, value in axes[axis][label].items()}
    return settings


def _merged(place: str, named: Mapping[str, Options], changes: Mapping[str, Options | None]) -> dict[str, Options]:
    """Extend or override named sets of options; null removes a set."""
    merged = dict(named)
    for name, options in changes.items():
        _check_name(place, name)
        if options is not None:
            merged[name] = {**merged.get(name, {}), **options}
        elif merged.pop(name, None) is None:
            raise UserError(f"{place} leaves out {name!r}, which is not there; there are {'; '.join(named)}")
    return merged


def _check_name(place: str, name: str) -> None:
    # names become folders, table entries and arguments
    if not name or name[0] in ".-" or not name.isprintable() or set(name) & set('/\\"'):
        raise UserError(f"{place}: the name {name!r} cannot name a folder; use letters, numbers, spaces and =")


def _check_text(place: str, value: Any) -> None:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if not isinstance(name, str):
            raise UserError(f"{place}: the name {name!r} is not text; put it in quotes")
        _check_text(f"{place}.{name}", inner)
