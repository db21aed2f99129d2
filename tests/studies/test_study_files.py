"""The shipped studies: every setting of every size is something that `rtp fit` accepts, within the storage budget."""

import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml

from rtp.cli import main
from rtp.datamodules import HuggingFace
from rtp.modules import ContinualLearner, Distillation
from rtp.studies.definition import read_study
from rtp.studies.plan import Options, Plan, Run, make_run
from rtp.studies.sweep import within_budget
from rtp.studies.table import read_rows

OURS = ("ingredients", "learner_rates", "number_formats")
"""Studies of what is not the paper's."""

RENAMED = ("continual",)
"""Studies whose options have other names than when they were run."""

RESULTS = Path(__file__).parents[2] / "docs" / "studies" / "results.csv"
STUDIES = sorted((Path(__file__).parents[2] / "configs" / "studies").glob("*.yaml"))
CLASSES = {"cifar10": tuple("abcdefghij"), "cifar100": tuple(f"class {number}" for number in range(100))}
SIZES = [(path, size) for path in STUDIES for size in yaml.safe_load(path.read_text())["sizes"]]


@pytest.fixture(params=SIZES, ids=lambda pair: f"{pair[0].stem}-{pair[1]}")
def plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Plan:
    # data sets need not be here: those that are used this way are CIFAR-10 and CIFAR-100
    monkeypatch.setattr(HuggingFace, "image_shape", (3, 32, 32))
    monkeypatch.setattr(HuggingFace, "class_names", property(lambda self: CLASSES[self.path]))
    return read_study(*request.param)


def settings_of(plan: Plan) -> dict[str, Options]:
    if plan.search is None:
        return dict(plan.settings)
    return {plan.search.setting(value): {plan.search.option: value} for value in plan.search.values}


def representative(plan: Plan) -> Iterator[Options]:
    """Settings enough for each option of the study, with each of its values that is no number."""
    seen: set[str] = set()
    for options in settings_of(plan).values():
        kinds = {
            f"{name} {type(value) if isinstance(value, int) else json.dumps(value)}" for name, value in options.items()
        }
        if kinds - seen or not kinds:
            seen |= kinds
            yield options


def build(plan: Plan, options: Options, folder: Path) -> None:
    cli: Any = main(["fit", *Run(plan, "", options, 0, folder).arguments])
    if plan.study in ("continual", "learner_rates"):
        assert isinstance(cli.model, ContinualLearner)
        assert cli.model.memory_images in (0, 10 * cli.datamodule.num_tasks)  # of the paper's budget
        return
    assert isinstance(cli.model, Distillation)
    data = cli.datamodule
    # the studies are of one budget: nearly full
    images = cli.config.fit.model.init_args.memory.init_args.images_per_class
    budget = images * data.num_classes * math.prod(data.image_shape)
    assert 0.85 * budget < cli.model.budget_floats <= budget
    assert (
        cli.config.fit.trainer.max_steps % cli.config.fit.trainer.val_check_interval == 0
    )  # the last step is validated


def test_what_is_published_is_shipped() -> None:
    names = {path.stem for path in STUDIES}
    assert names == {
        *("ablation", "adam", "architectures", "baselines", "continual", "momentum", "num_bases", "recalled", "unroll"),
        *OURS,
    }
    for path in STUDIES:
        if path.stem not in ("continual", "recalled", *OURS):
            assert {"paper", "mnist", "digits"} <= set(yaml.safe_load(path.read_text())["sizes"])
        assert "fast" in yaml.safe_load(path.read_text())["sizes"]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    command = "sweep" if path.stem == "num_bases" else "study"
    assert f"rtp {command} configs/studies/{path.name} --size " in header
    published = r"No published number" if path.stem in OURS else r"Published .*\((tables?|figure|sections?) "
    assert re.search(published, header)


def test_seeds_are_three_but_for_the_fast_size(plan: Plan) -> None:
    one = plan.size == "fast" or plan.search or plan.study in ("learner_rates", "recalled")
    assert len(plan.seeds) == (1 if one else 3)


def test_a_sweep_keeps_to_its_budget(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    if plan.search is not None:
        assert within_budget(plan, plan.search) == plan.search


def test_rtp_fit_accepts_the_options(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(size for path, size in SIZES if path.stem == plan.study)
    assert first.startswith("paper") or plan.study in OURS
    if plan.size not in ("fast", first):
        pytest.skip("`make test-slow` builds all sizes")
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    few = representative(plan)
    for number, options in enumerate(few if plan.size == "fast" else itertools.islice(few, 1)):
        build(plan, options, tmp_path / str(number))


@pytest.mark.slow
def test_rtp_fit_accepts_every_setting(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)
    for number, options in enumerate(settings_of(plan).values()):
        build(plan, options, tmp_path / str(number))


def test_published_rows_are_of_the_studies_as_they_are_shipped() -> None:
    """A configuration that a study is based on cannot change without the study's numbers."""
    plans: dict[tuple[str, str], Plan] = {}
    rows = [row for row in read_rows(RESULTS) if row.study not in RENAMED]
    for row in rows:
        path = STUDIES[0].with_name(f"{row.study}.yaml")
        plan = plans.setdefault((row.study, row.size), read_study(path, row.size))
        if plan.search is None:
            assert make_run(plan, row.setting, row.seed, Path("logs")).digest == row.digest, (row.size, row.setting)
    assert len(plans) > 5
