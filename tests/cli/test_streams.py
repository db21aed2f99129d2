"""`rtp fit` and `rtp test` on a stream of tasks: what they write, resuming, and the errors before training."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rtp
from rtp.callbacks import LastCheckpoint
from rtp.cli import app as cli
from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules import CompressThenRecall
from rtp.modules.continual.bounds.online import Online

CONFIG = Path(__file__).parents[1] / "conf" / "streams" / "permuted_digits.yaml"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)  # Lightning turns Ctrl-C off for good


def fit(run: str, *options: str) -> cli.RtpCLI:
    quiet = ["--trainer.enable_progress_bar", "false"]
    return main(["fit", "--config", str(CONFIG), "--run_dir", run, *quiet, *options])


def history(checkpoint: dict[str, Any]) -> list[list[float]]:
    accuracies: list[list[float]] = checkpoint["callbacks"]["RetainedAccuracy"]["history"]
    return accuracies


def test_a_run_and_its_test(capsys: pytest.CaptureFixture[str]) -> None:
    fit("run")
    said = capsys.readouterr().out
    assert "learning 3 tasks of permuted_digits with CompressThenRecall, storage budget 7,680 bytes; on cpu" in said
    assert "test it: rtp test --ckpt_path run/last.ckpt" in said
    assert not Path("run/best.ckpt").exists()
    checkpoint = torch.load("run/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3 * 4 * 2
    assert [len(row) for row in history(checkpoint)] == [1, 2, 3]
    assert history(checkpoint)[2][:2] == history(checkpoint)[1]  # memories do not change any more

    curves = EventAccumulator("run").Reload()
    retained = [(event.step, event.value) for event in curves.Scalars("val/retained_accuracy")]
    assert [step for step, _ in retained] == [7, 15, 23]
    assert [value for _, value in retained] == pytest.approx([sum(row) / len(row) for row in history(checkpoint)])
    assert [event.step for event in curves.Scalars("val/accuracy_task_01")] == [15, 23]
    assert len(curves.Images("val/accuracy_matrix")) == 1
    assert Path("run/accuracy_matrix.png").is_file()
    stored = [event.value for event in curves.Scalars("memory/storage_bytes")]
    assert (len(stored), max(stored) <= 7680) == (24, True)

    main(["test", "--ckpt_path", "run/last.ckpt"])
    said = capsys.readouterr().out
    assert "backward transfer and interference n/a, backward transfer n/a, forgetting n/a" in said
    assert "task-incremental: at test time the learner is told an image's task; learned in " in said
    assert "results: run/test.json" in said
    result = json.loads(Path("run/test.json").read_text())
    assert [len(row) for row in result["test_accuracies"]] == [2, 2, 2]
    assert result["accuracy_matrix"] == history(checkpoint)
    assert result["scenario"] == "task-incremental"
    assert 0 < result["learning_seconds"] == checkpoint["callbacks"]["RetainedAccuracy"]["learning_seconds"]
    assert result["evaluation_seconds"] > 0
    assert result["retained_accuracy"] == pytest.approx(sum(sum(row) for row in result["test_accuracies"]) / 6)
    assert (result["learner"], result["dataset"]) == ("CompressThenRecall", "permuted_digits")
    assert (result["budget_bytes"], result["finished_tasks"], result["steps"]) == (7680, 3, 24)
    assert 0 < result["storage_bytes"] <= result["largest_storage_bytes"] == max(stored) <= 7680


@pytest.mark.parametrize(
    "start",
    [[], ["--model.memory.init", "data", "--model.start_samples", "11", "--model.average", "0.5"]],
    ids=["at random", "from data, averaged"],
)
def test_from_every_checkpoint_that_is_written(
    start: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a task and of its replays, between tasks, and at the end."""
    written: list[Path] = []

    def snapshot(self: LastCheckpoint, trainer: L.Trainer) -> None:
        save(self, trainer)
        written.append(tmp_path / f"after-{len(written)}")
        shutil.copytree("run", written[-1])

    save = LastCheckpoint._save
    every_step = ["--checkpoint.every_n_steps", "1", "--data.samples_per_task", "12", "--data.tasks", "2"]
    every_step += ["--trainer.max_epochs", "2", "--model.memory_images", "20"]
    adam = ["--model.optimizer", "torch.optim.Adam", "--model.optimizer.lr", "0.01"]
    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", snapshot)
        fit("run", *every_step, *adam, *start)
    Path("run").rename("whole")
    whole = torch.load("whole/last.ckpt", weights_only=True)
    assert len(written) == 2 * 4 + 1
    steps = []
    for folder in written:
        folder.rename("run")
        steps.append(torch.load("run/last.ckpt", weights_only=True)["global_step"])
        fit("run", *every_step, *adam, *start, "--ckpt_path", "last")
        checkpoint = torch.load("run/last.ckpt", weights_only=True)
        for key in ("state_dict", "optimizer_states", "global_step", "rtp_seed"):
            torch.testing.assert_close(checkpoint[key], whole[key], rtol=0, atol=0)
        assert history(checkpoint) == history(whole)
        shutil.rmtree("run")
    assert steps == [*range(1, 9), 8]


def stopped(
    run: str, minibatch: int, *options: str, learner: type[CompressThenRecall | Online] = CompressThenRecall
) -> None:
    """Press Ctrl-C in a minibatch of a run, counted from 1."""

    def interrupt(self: Any, batch: StreamBatch) -> None:
        calls.append(None)
        if len(calls) == minibatch:
            signal.raise_signal(signal.SIGINT)
        original(self, batch)

    calls: list[None] = []
    original = learner.learn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "learn", interrupt)
        with pytest.raises(SystemExit):
            fit(run, *options)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_lets_the_step_end(capsys: pytest.CaptureFixture[str]) -> None:
    fit("whole")
    stopped("run", 8, "--checkpoint.every_n_steps", "100")  # the last one of the first task
    assert "stopped at step 8; continue with --ckpt_path run/last.ckpt" in capsys.readouterr().out
    fit("run", "--ckpt_path", "last")
    one, other = (torch.load(f"{run}/last.ckpt", weights_only=True) for run in ("run", "whole"))
    torch.testing.assert_close(one["state_dict"], other["state_dict"], rtol=0, atol=0)
    assert history(one) == history(other)


@pytest.mark.parametrize("minibatch", [8, 10, 11])  # the last of a task, a validation follows, none does
def test_a_continued_run_keeps_the_accuracies_right_after_a_task_and_the_seconds(
    minibatch: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def learn(self: Online, batch: StreamBatch) -> None:
        now[0] += 1
        original(self, batch)

    def seconds(checkpoint: dict[str, Any]) -> float:
        return float(checkpoint["callbacks"]["RetainedAccuracy"]["learning_seconds"])

    now = [0.0]
    original = Online.learn
    monkeypatch.setattr(Online, "learn", learn)
    monkeypatch.setattr("rtp.utils.stopwatch.time", SimpleNamespace(perf_counter=lambda: now[0]))
    options = ["--model", "Online", "--model.network", "MLP", "--model.learning_rate", "0.1"]
    fit("once", *options)
    options += ["--trainer.val_check_interval", "0.25"]
    stopped("run", minibatch, *options, learner=Online)
    kept = torch.load("run/last.ckpt", weights_only=True)
    fit("run", *options, "--ckpt_path", "last")
    whole = torch.load("once/last.ckpt", weights_only=True)
    continued = torch.load("run/last.ckpt", weights_only=True)
    assert history(kept) == history(whole)[:1]
    assert history(continued) == history(whole)
    assert (seconds(kept), seconds(continued), seconds(whole)) == (minibatch, 24, 24)
    main(["test", "--ckpt_path", "run/last.ckpt"])
    said = capsys.readouterr().out
    assert "domain-incremental: at test time the learner does not need an image's task; learned in 24.0 s" in said


def test_validate_measures_the_finished_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    fit("run")
    cli = main(["validate", "--ckpt_path", "run/last.ckpt"])
    (metrics,) = {float(value) for name, value in cli.trainer.callback_metrics.items() if "retained" in name}
    assert metrics == pytest.approx(sum(history(torch.load("run/last.ckpt", weights_only=True))[-1]) / 3)


def test_before_the_first_task_ends_there_is_nothing_to_test() -> None:
    stopped("run", 3)
    with pytest.raises(UserError, match="no task of the stream is finished yet"):
        main(["test", "--ckpt_path", "run/last.ckpt"])
    with pytest.raises(UserError, match="no task of the stream is finished yet: there is nothing to recall, so train"):
        main(["predict", "--ckpt_path", "run/last.ckpt"])
    with pytest.raises(UserError, match=r"^no task of run/last.ckpt is finished yet: there is no memory to write"):
        export(["run/last.ckpt", "stream.safetensors"])


def test_unfinished_tasks_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    stopped("run", 10)  # in the second task
    capsys.readouterr()
    module = main(["predict", "--ckpt_path", "run/last.ckpt", "--trainer.enable_progress_bar", "false"]).model
    said = capsys.readouterr().out
    assert "recalled images of 10 classes of task 0 are in run/recalled/task_00" in said
    assert "task 1 is not finished: it is left out\ntask 2 is not finished: it is left out\n" in said
    pictures = sorted(str(path.relative_to("run/recalled")) for path in Path("run/recalled").rglob("*.png"))
    assert pictures == [f"task_00/{label:03d}.png" for label in range(10)]
    export(["run/last.ckpt", "stream.safetensors"])
    memory = rtp.load("stream.safetensors")
    assert len(memory.tasks) == 1
    assert torch.equal(memory.task(0).dataset().images, module.recalled(0)[0])
    main(["test", "--memory", "stream.safetensors", "--run_dir", "tested"])
    report = json.loads(Path("tested/test.json").read_text())
    assert (report["finished_tasks"], len(report["test_accuracies"])) == (1, 1)
    capsys.readouterr()
    info(["run/last.ckpt"])
    said = capsys.readouterr().out
    assert "memories of 1 finished tasks\nmemory: 616 numbers, 2,464 bytes in float32: 0._bases 4x1x8x8, 0.add" in said


def test_a_learner_without_memories_says_so() -> None:
    fit("run", "--model", "Online", "--model.network", "MLP", "--model.learning_rate", "0.1")
    with pytest.raises(UserError, match=r"^Online keeps no memories of tasks that recall images: fit the stream with"):
        main(["predict", "--ckpt_path", "run/last.ckpt"])
    with pytest.raises(UserError, match=r"^run/last.ckpt is of Online, which keeps no memories of tasks: fit the str"):
        export(["run/last.ckpt", "stream.safetensors"])
    assert not Path("stream.safetensors").exists()


def test_one_batch_to_try_a_configuration() -> None:
    cli = fit("run", "--trainer.fast_dev_run", "true")
    assert int(cli.model.finished_tasks) == 0
    assert len(cli.model.reservoir) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.memory_images", "3"], r"memory_images=3 for 3 tasks of 10 classes is .* num_bases=4 does not fit"),
        (["--model.memory.downsampling", "3"], r"downsampling=3 does not divide the image of 8x8 pixels: use one of"),
        (["--trainer.max_epochs", "5"], r"has 3 tasks and the trainer runs 5 epochs, .* use --trainer.max_epochs 3"),
        (["--data.tasks", "4"], r"the stream has 4 tasks and the trainer runs 3 epochs"),
        (["--trainer.reload_dataloaders_every_n_epochs", "0"], r"use --trainer.reload_dataloaders_every_n_epochs 1"),
        (["--trainer.max_steps", "5"], r"max_steps is 5 and would end tasks before their last minibatch: leave it out"),
        (["--trainer.limit_train_batches", "0.5"], r"limit_train_batches is 0.5 and would end tasks"),
        (["--data.samples_per_task", "5000"], r"samples_per_task is 5000, but digits has 1295 such images"),
        (
            ["--data", "Digits"],
            r"CompressThenRecall learns a stream of tasks, but Digits is not one: use Permuted",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_before_training(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(*_: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(CompressThenRecall, "learn", learn)
    with pytest.raises(UserError, match=message) as error:
        fit("run", *options)
    assert "\n" not in str(error.value)


def test_a_stream_is_not_distilled_into_one_memory() -> None:
    config = CONFIG.parents[1] / "addressable.yaml"
    stream = ["--data", "PermutedTasks", "--data.source", "Digits", "--data.tasks", "2"]
    with pytest.raises(
        UserError,
        match="PermutedTasks is a stream of tasks, but MemoryDistillation does not learn streams: use",
    ):
        main(["fit", "--config", str(config), *stream, "--data.samples_per_task", "10"])


def test_a_run_is_not_continued_with_another_stream() -> None:
    stopped("run", 5)
    with pytest.raises(UserError, match=r"started with a stream of seed 0, not of seed 1: continue it with its own"):
        fit("run", "--ckpt_path", "last", "--data.seed", "1")
    with pytest.raises(UserError, match=r"a stream of kind permuted, not of kind rotated: continue it") as error:
        fit("run", "--ckpt_path", "last", "--data", "RotatedTasks")
    assert "\n" not in str(error.value)
