"""The plan of a study at one size, its runs, and the digest that identifies a run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonargparse.typing import PositiveInt

from rtp.errors import UserError
from rtp.studies.table import Row

Options = Mapping[str, Any]
"""Options of `rtp fit` and their values: `{"model.unroll.num_steps": 10}`."""

CONFIG = "config"
"""The option of a setting that names a configuration file, as a learner's, beside those that all settings share."""

DIGITS = 8
"""Hexadecimal digits of a digest: two settings of a study share one with a probability of 2 ** -32."""


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
    values: tuple[PositiveInt, ...]

    def __post_init__(self) -> None:
        if not self.values or tuple(sorted(set(self.values))) != self.values:
            raise UserError(f"values is {list(self.values)}: list distinct whole numbers in ascending order")

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
        """Arguments of `rtp fit` for a new run."""
        bases = [f"--config={base}" for base in self.plan.bases]
        seeds = [f"--{name}={self.seed}" for name in ("seed_everything", *self.plan.seeded)]
        return [*bases, *self.changes, *seeds, f"--run_dir={self.folder}"]

    @property
    def changes(self) -> list[str]:
        """Its configuration file, where it has one, and its options, the setting's after those of the size."""
        own = {name: value for name, value in self.options.items() if name == CONFIG}
        others = {name: value for name, value in self.options.items() if name != CONFIG}
        return [*option_arguments(own), *option_arguments(self.plan.options), *option_arguments(others)]

    @cached_property
    def digest(self) -> str:
        """Hash of the run's settings without its seed, eight hexadecimal digits.

        Raises:
            UserError: If a configuration file cannot be read.
        """
        files = [*self.plan.bases, *(Path(str(value)) for name, value in self.options.items() if name == CONFIG)]
        own = {name: value for name, value in self.options.items() if name != CONFIG}
        return digest(files, self.plan.options, own, self.plan.seeded)

    def owns(self, row: Row) -> bool:
        """Whether a row of the table is one of this run's, as its study is now."""
        return row.seed == self.seed and self.has_setting_of(row)

    def has_setting_of(self, row: Row) -> bool:
        """Whether a row of the table is of this run's setting, as its study is now, with any seed."""
        theirs = (row.study, row.size, row.setting, row.digest)
        return theirs == (self.plan.study, self.plan.size, self.setting, self.digest)


def make_run(plan: Plan, setting: str, seed: int, root: Path, options: Options | None = None) -> Run:
    """A run with its place in the folder of all studies.

    Args:
        plan: The study and its size.
        setting: Name of the setting.
        seed: Seed.
        root: The folder of all studies.
        options: What the setting changes; by default the plan's options of it.
    """
    folder = root / plan.study / plan.size / setting / f"seed{seed}"
    return Run(plan, setting, plan.named(setting) if options is None else options, seed, folder)


def option_arguments(options: Options) -> list[str]:
    """Options as arguments of a command line: a class comes before its own arguments."""
    return [
        f"--{name}={options[name] if isinstance(options[name], str) else json.dumps(options[name], allow_nan=False)}"
        for name in sorted(options, key=lambda name: name.count("."))
    ]


def digest(files: Sequence[Path], *parts: Any) -> str:
    """Hash the contents of configuration files and other values.

    Comments, the order of names and the place of a file do not matter.

    Args:
        files: YAML files, in their order.
        parts: What JSON can hold.

    Returns:
        The first 8 hexadecimal digits of the SHA-256 of their canonical JSON.

    Raises:
        UserError: If a file cannot be read.
    """
    contents = []
    for file in files:
        try:
            contents.append(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, yaml.YAMLError) as error:
            problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or "it is not text"
            raise UserError(
                f"cannot read the configuration {str(file)!r} ({problem}): correct or restore it"
            ) from error
    # YAML has dates, JSON does not
    text = json.dumps([contents, *parts], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
