"""The plan of a study at one size, its runs, and the digest that identifies a run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse.typing import PositiveInt

from rtp.errors import UserError
from rtp.studies.table import Row

Options = Mapping[str, Any]
"""Options of `rtp fit` and their values: `{"model.unroll.num_steps": 10}`."""

Split = Literal["test", "validation"]

CONFIG = "config"
"""The option of a setting that names its own configuration file, such as a learner's, read after the shared ones."""

DIGITS = 8
"""Hexadecimal digits of a digest: two settings collide with a probability of 2 ** -32."""


@dataclass(frozen=True)
class Search:
    """The search space of `rtp sweep`.

    Attributes:
        axis: Short name of the option in settings and figures, such as K.
        option: Option of `rtp fit`.
        values: Candidate values, positive integers in ascending order.
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
        bases: Configuration files of all runs.
        options: Options of all runs of this size; they override the files.
        seeds: Seeds of the runs.
        seeded: Options set to a run's seed, in addition to `seed_everything`.
        settings: The options of each compared setting, by name; empty for a sweep.
        search: Search space of a sweep; None for a study.
        split: Where the runs of a study are compared.
    """

    study: str
    size: str
    bases: tuple[Path, ...]
    options: Options
    seeds: tuple[int, ...]
    seeded: tuple[str, ...]
    settings: Mapping[str, Options]
    search: Search | None
    split: Split = "test"


@dataclass(frozen=True)
class Run:
    """A setting of a study with one seed.

    Attributes:
        plan: The study and its size.
        setting: Name of the setting, such as K=8 in a sweep.
        options: The setting's own options; they override the plan's.
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
        """Arguments for the setting's configuration file, the size's options and the setting's."""
        config, own = self._config_and_options
        return [f"--{CONFIG}={file}" for file in config] + option_arguments(self.plan.options) + option_arguments(own)

    @cached_property
    def digest(self) -> str:
        """Hash of the run's settings without its seed; see the function `digest`."""
        config, own = self._config_and_options
        return digest([*self.plan.bases, *config], self.plan.options, own, self.plan.seeded)

    @property
    def _config_and_options(self) -> tuple[list[Path], Options]:
        own = dict(self.options)
        return [Path(str(own.pop(CONFIG)))] if CONFIG in own else [], own

    def owns(self, row: Row) -> bool:
        """Whether a table row belongs to this run, given the study's current files."""
        return row.seed == self.seed and self.has_setting_of(row)

    def has_setting_of(self, row: Row) -> bool:
        """Whether a table row belongs to this run's setting, with any seed, given the study's current files."""
        theirs = (row.study, row.size, row.setting, row.digest)
        return theirs == (self.plan.study, self.plan.size, self.setting, self.digest)


def make_run(plan: Plan, setting: str, seed: int, root: Path, options: Options | None = None) -> Run:
    """A run in the folder `root` of all studies; its options default to the plan's for this setting."""
    folder = root / plan.study / plan.size / setting / f"seed{seed}"
    return Run(plan, setting, plan.settings.get(setting, {}) if options is None else options, seed, folder)


def option_arguments(options: Options) -> list[str]:
    """Options as command-line arguments; a class precedes its own arguments."""
    return [
        f"--{name}={options[name] if isinstance(options[name], str) else json.dumps(options[name], allow_nan=False)}"
        for name in sorted(options, key=lambda name: name.count("."))
    ]


def read_yaml(path: Path, kind: str, remedy: str) -> Any:
    """Read a YAML file; raise UserError with the kind of file and the remedy if that fails."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"cannot read the {kind} {str(path)!r} ({problem}): {remedy}") from error


def digest(files: Sequence[Path], *parts: Any) -> str:
    """Hash YAML files, without their paths, comments and order of keys, and JSON-serialisable values.

    Returns:
        The first 8 hexadecimal digits of the SHA-256 of their canonical JSON.

    Raises:
        UserError: If a file cannot be read.
    """
    contents = [read_yaml(file, "configuration", "correct or restore it") for file in files]
    # YAML has dates, JSON does not
    text = json.dumps([contents, *parts], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
