"""`rtp study`: a whole study of two settings and two seeds, stopped and gone on with."""

import gc
import importlib.util
import logging
import math
import shutil
import signal
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtp.cli import app as cli
from rtp.errors import UserError
from rtp.studies import runs
from rtp.studies.runs import claimed
from rtp.studies.study import study
from rtp.studies.table import read_rows

TABLE = Path("logs/studies/results.csv")
FIND_SPEC = importlib.util.find_spec


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)  # Lightning turns Ctrl-C off for good


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds and have tests of their own."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else FIND_SPEC(name))


def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: list[str]) -> None:
        raise AssertionError(f"ran {args}")

    monkeypatch.setattr(runs, "main", fail)


def test_a_study_runs_every_setting_and_seed_and_goes_on_where_it_was_stopped(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # stopped after the first of its runs was fitted and the second one tested
    real = cli.main
    count = iter(range(100))

    def stopped(args: list[str]) -> cli.RtpCLI:
        if next(count) == 5:
            raise KeyboardInterrupt
        return real(args)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "main", stopped)
        with pytest.raises(KeyboardInterrupt):
            study([str(study_file), "--fast"])
    assert capsys.readouterr().out.endswith("[3/4] short, seed 1: stopped; the same command continues from here\n")
    assert [(row.setting, row.seed) for row in read_rows(TABLE)] == [("short", 0), ("pixels", 0)]
    assert (TABLE.parent / "tiny/fast/short/seed1/best.ckpt").is_file()
    done: list[str] = []

    def recorded(args: list[str]) -> cli.RtpCLI:
        done.append(args[0])
        return real(args)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "main", recorded)
        study([str(study_file), "--fast"])
    assert done == ["test", "fit", "test"]
    rows = read_rows(TABLE)
    assert [(row.setting, row.seed) for row in rows] == [("short", 0), ("pixels", 0), ("short", 1), ("pixels", 1)]
    assert {row.storage_floats for row in rows} == {608, 640}
    assert all(0 < row.accuracy_mean < 1 for row in rows)
    capsys.readouterr()

    # done: nothing is left to do, but the table is printed
    nothing_runs(monkeypatch)
    study([str(study_file), "--fast"])
    printed = capsys.readouterr().out
    assert "[4/4] pixels, seed 1: " in printed
    short = [row.accuracy_mean for row in rows if row.setting == "short"]
    mean, half = 50 * sum(short), 50 * abs(short[0] - short[1])
    assert f"{mean:.2f} +- {half * math.sqrt(2):.2f}" in printed
    assert f"results: {TABLE}" in printed
    assert "pip install matplotlib" in printed

    # its table is lost, or its end is: the rows come from what the runs left
    content = TABLE.read_bytes()
    for left in (b"", content[:-10]):
        TABLE.write_bytes(left)
        monkeypatch.setattr(logging.getLogger("rtp"), "disabled", True)
        study([str(study_file), "--fast"])
        assert sorted(TABLE.read_bytes().splitlines()) == sorted(content.splitlines())

    # its folders are cleared away
    shutil.rmtree(TABLE.parent / "tiny")
    capsys.readouterr()
    study([str(study_file), "--fast", "--only", "pixels", "--seeds", "1"])
    assert TABLE.read_bytes().count(b"\n") == 5
    printed = capsys.readouterr().out
    assert "[1/1] pixels, seed 1: " in printed
    assert f"{mean:.2f} +- {half * math.sqrt(2):.2f}" in printed  # of the settings that were not chosen too


def test_a_row_counts_for_the_settings_that_it_was_measured_with_alone(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(study_file), "--fast", "--only", "short", "--seeds", "0"]
    study(command)
    (first,) = read_rows(TABLE)
    shutil.rmtree(TABLE.parent / "tiny")
    edited = study_file.read_text().replace("max_steps: 4", "max_steps: 2")
    study_file.write_text(edited)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(runs, "main", stop_at_once)
        with pytest.raises(KeyboardInterrupt):
            study(command)
    shutil.rmtree(TABLE.parent / "tiny")
    study(command)
    (second,) = read_rows(TABLE)
    assert (first.steps, second.steps) == (4, 2)
    assert first.digest != second.digest

    # of other options, and not the one of this run: it is left as it is, and not shown
    study_file.write_text(edited.replace("num_steps: 1", "num_steps: 2"))
    capsys.readouterr()
    study([*command[:2], "--only", "pixels", "--seeds", "0"])
    printed = capsys.readouterr().out
    assert "left out, as they are not of the settings that the study has now: short" in printed
    assert [row.setting for row in read_rows(TABLE)] == ["short", "pixels"]


def stop_at_once(args: list[str]) -> None:
    raise KeyboardInterrupt


def test_a_run_that_is_refused_does_not_promise_to_go_on(
    study_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study_file.write_text(study_file.read_text().replace("num_steps: 1", "num_steps: 0"))
    with pytest.raises(UserError, match="num_steps must be at least 1"):
        study([str(study_file), "--fast", "--only", "short"])
    assert capsys.readouterr().out.endswith("[1/2] short, seed 0: refused\n")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Where TensorBoard gets figures from now on; they are not drawn."""
    pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")
    folders: list[Path | None] = []

    def record(figure: object, path: Path, tensorboard: Path | None) -> list[Path]:
        folders.append(tensorboard)
        return [path]

    monkeypatch.setattr(importlib.util, "find_spec", FIND_SPEC)
    monkeypatch.setattr("rtp.studies.figures.study.study_figure", lambda rows, name: [row.setting for row in rows])
    monkeypatch.setattr("rtp.studies.figures.saving.save_figure", record)
    return folders


def test_the_data_of_a_run_is_freed_before_the_next_one(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the trainer and its data refer to each other, so that only the garbage collector frees them, sometime
    real = cli.main
    used: list[weakref.ref[object]] = []
    alive: list[int] = []

    def watched(args: list[str]) -> cli.RtpCLI:
        alive.append(sum(data() is not None for data in used))
        done = real(args)
        used.append(weakref.ref(done.datamodule))
        return done

    monkeypatch.setattr(runs, "main", watched)
    gc.disable()
    try:
        study([str(study_file), "--fast", "--seeds", "0"])
    finally:
        gc.enable()
    assert alive == [0, 0, 0, 0]  # two runs, each fitted and tested


def test_tensorboard_gets_a_figure_when_something_was_run(study_file: Path, drawn: list[Path | None]) -> None:
    command = [str(study_file), "--fast", "--only", "short", "--seeds", "0"]
    study(command)
    study(command)
    TABLE.unlink()  # its row is read from the folder again
    study(command)
    assert drawn == [TABLE.parent / "tiny" / "fast", None, None]


def test_a_study_goes_on_after_a_run_that_diverged(
    study_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study_file.write_text(
        study_file.read_text().replace("num_steps: 1", "num_steps: 1, model.inner_optimizer.learning_rate: 1.0e+30")
    )
    study([str(study_file), "--fast", "--seeds", "0", "--results", "mine.csv"])
    rows = read_rows(Path("mine.csv"))
    assert [row.setting for row in rows] == ["short", "pixels"]
    assert [math.isnan(row.accuracy_mean) for row in rows] == [True, False]
    captured = capsys.readouterr()
    assert "[1/2] short, seed 0: diverged" in captured.out
    assert "(1 diverged)" in captured.out
    assert "training stops" in captured.err
    nothing_runs(monkeypatch)
    study([str(study_file), "--fast", "--seeds", "0", "--results", "mine.csv"])
    assert len(Path("mine.csv").read_text().splitlines()) == 3


def test_a_run_of_another_process_is_left_to_it(study_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with claimed(Path("logs/studies/tiny/fast/short/seed0")):
        study([str(study_file), "--fast", "--only", "short", "--seeds", "0"])
    printed = capsys.readouterr().out
    assert "[1/1] short, seed 0: another process works on it" in printed
    assert "1 of 1 runs are still being done by other processes" in printed
    assert not TABLE.exists()


def test_baselines_have_rows_of_their_own(study_file: Path) -> None:
    study_file.write_text(study_file.read_text().replace("num_steps: 1", "num_steps: 1, evaluation.baselines: true"))
    study([str(study_file), "--fast", "--only", "short", "--seeds", "0"])
    rows = read_rows(TABLE)
    assert {"distilled", "random real", "all real"} <= {row.training_set for row in rows}
    assert len({row.key for row in rows}) == len(rows)


def test_a_study_on_the_validation_split_leaves_the_test_set_unread(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study_file.write_text(f"split: validation\n{study_file.read_text()}")
    study([str(study_file), "--fast"])
    rows = read_rows(TABLE)
    assert [(row.split, row.steps) for row in rows] == [("validation", 4)] * 4
    assert not list(Path("logs").rglob("test.json"))
    assert "% on the validation split (" in capsys.readouterr().out
    nothing_runs(monkeypatch)
    study([str(study_file), "--fast"])  # finished
    shutil.rmtree("logs/studies/tiny")
    study([str(study_file), "--fast"])
    assert len(read_rows(TABLE)) == 4


def test_a_study_is_a_command_of_rtp(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rtp", "study", "--help"])
    with pytest.raises(SystemExit) as caught:
        cli.entry_point()
    assert caught.value.code == 0
    assert "--fast" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fast", "--only", "long"], "there is no setting 'long' in the size fast: use short; pixels"),
        ([], "name one of the sizes of .*tiny.yaml with --size: fast, or --fast"),
        (["--size", "huge"], "has no size 'huge': use one of fast"),
        (["--size", "huge", "--fast"], "not allowed with argument"),
        (["--fast", "--results", "tiny.yaml"], "has other columns"),
        (["--sampler", "grid"], "unrecognized arguments: --sampler grid; `rtp study --help`"),
    ],
)
def test_what_is_wrong_in_a_command_is_said_before_anything_runs(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    nothing_runs(monkeypatch)
    with pytest.raises(UserError, match=message):
        study([str(study_file), *options])


def test_a_file_for_a_sweep_is_sent_there(study_file: Path) -> None:
    text = study_file.read_text().partition("settings:")[0]
    study_file.write_text(text + "    search: {axis: K, option: model.memory.num_bases, values: [4]}\n")
    with pytest.raises(UserError, match="run it with `rtp sweep`"):
        study([str(study_file), "--fast"])
