"""`rtp sweep`: Optuna's storage makes it resumable and shared; the best number of bases is tested."""

import importlib.util
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtp.errors import UserError
from rtp.studies import runs
from rtp.studies.definition import read_study
from rtp.studies.plan import Search
from rtp.studies.sweep import Tried, optimise, sweep, within_budget
from rtp.studies.table import read_rows

SEARCH = Search("K", "model.memory.num_bases", (4, 8, 16))
optuna: Any = pytest.importorskip("optuna", reason="the extra rtp[sweep] is not installed")


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)  # Lightning turns Ctrl-C off for good


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def sweep_file(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = importlib.util.find_spec  # figures take seconds and have tests of their own
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    text = study_file.read_text().partition("settings:")[0].replace("[0, 1]", "[0]")
    study_file.write_text(text + "    search: {axis: K, option: model.memory.num_bases, values: [4, 8, 32]}\n")
    return study_file


def counted(function: Callable[[int], float]) -> tuple[Callable[[int], Tried], list[int]]:
    values: list[int] = []

    def objective(value: int) -> Tried:
        values.append(value)
        return function(value), f"note {value}"

    return objective, values


def best(storage: str, objective: Callable[[int], Tried], sampler: str = "grid", trials: int | None = None) -> int:
    return optimise("s", storage, SEARCH, objective, sampler, trials)[0]


def states(storage: str) -> list[str]:
    loaded = optuna.load_study(study_name="s", storage=storage)
    return sorted(trial.state.name for trial in loaded.get_trials())


def test_a_grid_tries_each_value_once_and_finds_the_best(storage: str) -> None:
    objective, values = counted(lambda value: -abs(value - 8))
    assert best(storage, objective) == 8
    assert sorted(values) == [4, 8, 16]
    found, notes = optimise("s", storage, SEARCH, objective, "grid", None)
    assert (found, sorted(notes)) == (8, ["note 16", "note 4", "note 8"])  # whoever made them
    assert len(values) == 3


def test_studies_in_one_storage_are_apart(storage: str) -> None:
    assert best(storage, counted(float)[0]) == 16
    assert optimise("other", storage, SEARCH, lambda value: (-value, ""), "grid", None)[0] == 4


def test_what_stops_a_sweep_is_raised_and_the_trial_is_tried_again(storage: str) -> None:
    def stop(value: int) -> Tried:
        if value == 8:
            raise KeyboardInterrupt
        return value, ""

    with pytest.raises(KeyboardInterrupt):
        best(storage, stop)
    assert "RUNNING" in states(storage)  # as after a kill
    assert "FAIL" not in states(storage)
    objective, values = counted(float)
    assert best(storage, objective) == 16
    assert 8 in values


def test_a_trial_of_a_process_that_died_goes_stale_and_is_retried(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(value: int) -> Tried:
        raise SystemExit(137)

    with pytest.raises(SystemExit):
        best(storage, die)
    # its heartbeats stopped more than the grace period ago
    monkeypatch.setattr(optuna.storages.RDBStorage, "_get_stale_trial_ids", _running)
    objective, values = counted(float)
    assert best(storage, objective) == 16
    assert sorted(values) == [4, 8, 16]
    assert states(storage) == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]


def _running(storage: Any, study_id: int) -> list[int]:
    own = [trial for trial in storage.get_all_trials(study_id) if trial.state.name == "RUNNING"]
    return [trial._trial_id for trial in own]


def test_tpe_makes_as_many_trials_as_asked_for_within_the_range(storage: str) -> None:
    objective, values = counted(lambda value: -((value - 9) ** 2))
    found = best(storage, objective, "tpe", 5)
    assert len(values) == 5
    assert all(4 <= value <= 16 for value in values)
    assert found == min(values, key=lambda value: abs(value - 9))
    best(storage, objective, "tpe", 6)
    assert len(values) == 6
    best(storage, objective, "tpe")
    assert len(values) == 6


def test_a_sweep_in_which_everything_diverges_has_no_best(storage: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="training diverged with every K"):
        best(storage, lambda value: (math.nan, ""))


def test_a_storage_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for url in ("nowhere", f"sqlite:///{tmp_path / 'missing' / 'optuna.db'}", "what://here"):
        with pytest.raises(
            UserError, match=r"--storage .* cannot be used .*: give a URL like sqlite:///FILE"
        ) as caught:
            best(url, counted(float)[0])
        assert "\n" not in str(caught.value)


def test_without_optuna_it_is_named(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="pip install optuna"):
        best(storage, counted(float)[0])


def test_numbers_of_bases_beyond_the_budget_are_left_out(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_study(sweep_file, "fast")
    assert plan.search is not None
    assert within_budget(plan, plan.search).values == (4, 8)
    assert "left out K=32: num_bases=32 does not fit a budget of 1 images a class" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no K of the sizes\.fast\.search fits the budget"):
        within_budget(plan, Search("K", "model.memory.num_bases", (32, 64)))
    steps = Search("T", "model.unroll.num_steps", (32, 64))
    assert within_budget(plan, steps) == steps


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        ({"model": {"init_args": {"slots_per_class": 2}}}, (4, 8)),
        ({"model": {"init_args": {"memory": {"init_args": {"images_per_class": 2}}}}}, (4, 8, 32)),
        ({"model": {"init_args": {"memory": {"init_args": {"downsampling": 1}}}}}, (4, 8)),
        ({"model": {"init_args": {"memory": {"init_args": {"downsampling": 1, "images_per_class": 0.6}}}}}, (4,)),
    ],
)
def test_the_budget_is_that_of_all_configurations_together(
    second: dict[str, Any], kept: tuple[int, ...], sweep_file: Path
) -> None:
    Path("second.yaml").write_text(yaml.safe_dump(second))
    text = re.sub(r"base: (.*)", r"base: [\1, second.yaml]", sweep_file.read_text())
    sweep_file.write_text(text)
    plan = read_study(sweep_file, "fast")
    assert plan.search is not None
    assert within_budget(plan, plan.search).values == kept


def test_a_sweep_validates_every_number_and_tests_the_best(
    sweep_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep([str(sweep_file), "--fast"])
    rows = read_rows(Path("logs/studies/results.csv"))
    validated = {row.setting: row.accuracy_mean for row in rows if row.split == "validation"}
    assert set(validated) == {"K=4", "K=8"}
    (tested,) = [row for row in rows if row.split == "test"]
    assert validated[tested.setting] == max(validated.values())
    assert {row.storage_floats for row in rows} == {624, 608}  # r = 14 and 6
    printed = capsys.readouterr().out
    assert "left out K=32" in printed
    assert f"best on the validation split: {tested.setting}" in printed

    def fail(args: list[str]) -> None:
        raise AssertionError(f"ran {args}")

    monkeypatch.setattr(runs, "main", fail)
    sweep([str(sweep_file), "--fast"])
    # another storage asks for all of them again, which the table answers
    sweep([str(sweep_file), "--fast", "--storage", "sqlite:///other.db"])
    assert len(Path("logs/studies/results.csv").read_text().splitlines()) == 1 + 3


def test_another_computer_has_the_rows_of_all_trials_and_trains_none_again(
    sweep_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = ["--storage", "sqlite:///shared.db"]
    sweep([str(sweep_file), "--fast", "--folder", "one", *shared])

    def fail(args: list[str]) -> None:
        raise AssertionError(f"ran {args}")

    monkeypatch.setattr(runs, "main", fail)
    capsys.readouterr()
    sweep([str(sweep_file), "--fast", "--folder", "other", *shared])
    here, there = (read_rows(Path(folder) / "results.csv") for folder in ("one", "other"))
    assert sorted(row.setting for row in there) == ["K=4", "K=8"]
    assert {astuple(row)[:9] for row in there} == {astuple(row)[:9] for row in here if row.split == "validation"}
    printed = capsys.readouterr().out
    assert "seed 0: trained on another computer or in another folder: give the same command there to test it" in printed
    assert all(f"\nK={value} " in printed for value in (4, 8))  # lines of the table
    assert not list(Path("other").glob("**/last.ckpt"))


def test_trials_of_other_options_are_not_gone_on_with(sweep_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(name: str, *_: object) -> int:
        raise KeyError(name)

    monkeypatch.setattr("rtp.studies.sweep.optimise", note)

    def name(text: str) -> str:
        """The name under which a sweep of this text asks for its trials."""
        sweep_file.write_text(text)
        with pytest.raises(KeyError) as caught:
            sweep([str(sweep_file), "--fast"])
        return str(caught.value.args[0])

    text = sweep_file.read_text()
    first = name(text)
    assert first.startswith("tiny-fast-")
    assert name(text.replace("[4, 8, 32]", "[4, 16]")) == first  # the values that there are still count
    changed = [name(text.replace(*change)) for change in (("max_steps: 4", "max_steps: 2"), ("[0]", "[0, 1]"))]
    assert len({first, *changed}) == 3


def test_a_number_that_diverges_is_not_the_best(sweep_file: Path) -> None:
    text = sweep_file.read_text().replace(
        "trainer.max_steps: 4", "trainer.max_steps: 4, model.inner_optimizer.learning_rate: 1.0e+30"
    )
    sweep_file.write_text(text)
    with pytest.raises(UserError, match="training diverged with every K"):
        sweep([str(sweep_file), "--fast"])
    rows = read_rows(Path("logs/studies/results.csv"))
    assert sorted(row.setting for row in rows) == ["K=4", "K=8"]
    assert all(math.isnan(row.accuracy_mean) for row in rows)


@pytest.mark.parametrize("options", [["--trials", "3"], ["--sampler", "tpe", "--trials", "0"]])
def test_trials_are_for_tpe(sweep_file: Path, options: list[str]) -> None:
    with pytest.raises(UserError, match=r"--trials . ?.*: give a number above 0, and with --sampler tpe alone"):
        sweep([str(sweep_file), "--fast", *options])


def test_a_file_for_a_study_is_sent_there(study_file: Path) -> None:
    with pytest.raises(UserError, match="run it with `rtp study`"):
        sweep([str(study_file), "--fast"])
