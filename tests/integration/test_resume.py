"""Runs that are stopped anywhere and continued end, bit for bit, where the uninterrupted run ends."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtp.callbacks import LastCheckpoint
from rtp.cli import app as cli
from rtp.cli import main
from rtp.errors import UserError
from rtp.modules import HigherUnroll
from rtp.runs.checkpoints import LAST, PREVIOUS

CONF = Path(__file__).parents[1] / "conf"
CONFIG = CONF / "addressable.yaml"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)  # Lightning turns Ctrl-C off for good


def command(run: Path | str, *options: str, config: Path = CONFIG) -> list[str]:
    return ["fit", "--config", str(config), "--run_dir", str(run), "--trainer.enable_progress_bar", "false", *options]


def fit(run: Path | str, *options: str, config: Path = CONFIG) -> cli.RtpCLI:
    return main(command(run, *options, config=config))


def assert_same_end(one: Path, other: Path) -> None:
    """Memory, outer optimizer, step, seed, and the best memory with its score."""
    for name in (LAST, "best.ckpt"):
        a, b = (torch.load(run / name, weights_only=True) for run in (one, other))
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "rtp_seed"):
            assert_same(a[key], b[key])
        for key in ("current_model_state", "averaging_state"):  # the memory beside its average, if there is one
            assert_same(a.get(key, {}), b.get(key, {}))
        assert_same(*(best_score(checkpoint) for checkpoint in (a, b)))


def assert_same(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def best_score(checkpoint: dict[str, Any]) -> torch.Tensor:
    (state,) = (state for key, state in checkpoint["callbacks"].items() if key.startswith("BestCheckpoint"))
    score: torch.Tensor = state["best_model_score"]
    return score


def assert_same_curves(one: Path, other: Path, missing: int) -> None:
    """A kill may come between the checkpoint of a step and the step's point in the curve."""
    runs = [EventAccumulator(str(run)).Reload() for run in (one, other)]
    for tag in ("train/outer_loss", "train/gradient_norm", "val/accuracy"):
        a, b = ({event.step: event.value for event in run.Scalars(tag)} for run in runs)
        assert a.items() <= b.items()
        assert len(a) >= len(b) - missing


# Every checkpoint ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("addressable", []),
        ("pixel", ["--trainer.accumulate_grad_batches", "2"]),
        ("stepwise", ["--trainer.limit_train_batches", "3"]),
        ("average", []),
        ("average", ["--model.memory.stored_as=int4", "--model.memory.float_steps=2"]),
    ],
)
def test_from_every_checkpoint_that_is_written(
    config: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def snapshot(self: LastCheckpoint, trainer: L.Trainer) -> None:
        save(self, trainer)
        written.append(tmp_path / f"after-{len(written)}")
        shutil.copytree("run", written[-1])

    save = LastCheckpoint._save
    options += ["--trainer.max_steps", "4", "--checkpoint.every_n_steps", "1", "--trainer.val_check_interval", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", snapshot)
        fit("run", *options, config=CONF / f"{config}.yaml")
    assert len(written) >= 5
    Path("run").rename("whole")
    for folder in written:
        folder.rename("run")
        fit("run", *options, "--ckpt_path", "last", config=CONF / f"{config}.yaml")
        assert_same_end(Path("run"), Path("whole"))
        shutil.rmtree("run")


def test_a_finished_run_can_be_made_longer_with_its_own_seed() -> None:
    fit("whole", "--trainer.max_steps", "6")
    fit("run")
    assert torch.load("run/last.ckpt", weights_only=True)["global_step"] == 4
    fit("run", "--trainer.max_steps", "6", "--ckpt_path", "run/last.ckpt", "--seed_everything", "5")
    assert_same(*(torch.load(f"{run}/last.ckpt", weights_only=True)["state_dict"] for run in ("run", "whole")))


# Killed ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def start() -> Callable[[list[str]], BaseProcess]:
    """Start a run in a process of its own that can be killed; the packages are imported once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rtp.cli.app"])

    def run(arguments: list[str]) -> BaseProcess:
        process = context.Process(target=main, args=(arguments,))
        process.start()
        return process

    return run


def wait_for(happened: Callable[[], bool], process: BaseProcess) -> None:
    end = time.monotonic() + 60
    while not happened() and process.is_alive():
        assert time.monotonic() < end
        time.sleep(0.0002)


LONG = ["--trainer.max_steps", "20", "--trainer.val_check_interval", "7", "--checkpoint.every_n_steps", "3"]


def finished(start: Callable[[list[str]], BaseProcess], arguments: list[str]) -> None:
    process = start(arguments)
    process.join()
    assert process.exitcode == 0


def test_a_killed_run_ends_where_the_uninterrupted_one_does(
    start: Callable[[list[str]], BaseProcess], tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    finished(start, command(whole, *LONG))
    process = start(command(run, *LONG))
    wait_for((run / LAST).exists, process)
    process.kill()  # in the step after the first checkpoint
    process.join()
    written = (run / LAST).stat().st_mtime_ns
    process = start(command(run, *LONG, "--ckpt_path", "last"))
    wait_for(lambda: (run / "last.ckpt.part").exists() and modified(run / LAST) != written, process)
    process.kill()  # in the middle of a write
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finished(start, command(run, *LONG, "--ckpt_path", "last"))
    assert_same_end(run, whole)
    assert_same_curves(run, whole, missing=2)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(start: Callable[[list[str]], BaseProcess], tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    options = ["--trainer.max_steps", "300", "--trainer.val_check_interval", "15", "--checkpoint.every_n_steps", "4"]
    process = start(command(whole, *options))
    wait_for((whole / "config.yaml").exists, process)
    began = time.monotonic()
    process.join()
    duration = time.monotonic() - began
    draw = random.Random(0)
    gaps = [draw.random() for _ in range(20)]
    arguments, begun, writing = command(run, *options), 0, 0
    for kill, gap in enumerate(gaps):
        process = start(arguments)
        wait_for(lambda begun=begun: modified(run / "config.yaml") > begun, process)  # type: ignore[misc]
        time.sleep(0.9 * duration * gap / sum(gaps))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        begun = modified(run / "config.yaml")
        writing += (run / "last.ckpt.part").exists()
        print(f"kill {kill}: last.ckpt is of step {step_of(run)}; {writing} in the middle of a write")
        if (run / LAST).exists() or (run / PREVIOUS).exists():
            arguments = command(run, *options, "--ckpt_path", "last")
        else:  # killed before the first checkpoint
            shutil.rmtree(run)
            begun = 0
    finished(start, arguments)
    assert_same_end(run, whole)
    assert_same_curves(run, whole, missing=20)


def modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # not written yet, or between the two renamings of a write
        return 0


def step_of(run: Path) -> int:
    return int(torch.load(run / LAST, weights_only=True)["global_step"]) if (run / LAST).exists() else 0


# Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Press Ctrl-C, or send another signal, in an outer step, counted from 0 since this was called."""

    def press(step: int, times: int = 1, signal_number: int = signal.SIGINT) -> None:
        calls: list[None] = []

        def meta_loss(self: HigherUnroll, *arguments: Any) -> torch.Tensor:
            if len(calls) == step:
                for _ in range(times):
                    os.kill(os.getpid(), signal_number)
            calls.append(None)
            return original(self, *arguments)

        monkeypatch.setattr(HigherUnroll, "meta_loss", meta_loss)

    original = HigherUnroll.meta_loss
    return press


@pytest.mark.parametrize("step", [2, 3])  # without and with a validation after it
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_let_the_step_end(
    step: int, signal_number: int, ctrl_c: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    fit("whole", "--trainer.max_steps", "6")
    ctrl_c(step, signal_number=signal_number)
    with pytest.raises(SystemExit):
        fit("run", "--trainer.max_steps", "6", "--checkpoint.every_n_steps", "100")
    assert f"stopped at step {step + 1}; continue with --ckpt_path run/last.ckpt" in capfd.readouterr().out
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fit("run", "--trainer.max_steps", "6", "--ckpt_path", "last")
    assert_same_end(Path("run"), Path("whole"))


def test_a_second_ctrl_c_stops_at_once(ctrl_c: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    ctrl_c(3, times=2)
    with pytest.raises(SystemExit):
        fit("run", "--checkpoint.every_n_steps", "1")
    assert torch.load("run/last.ckpt", weights_only=True)["global_step"] == 3
    output = capfd.readouterr()
    assert "stopping after this step; Ctrl-C again stops at once" in output.err
    assert "stopped at step 3; continue with --ckpt_path run/last.ckpt, of step 3" in output.out


def test_an_endless_run_takes_every_batch_once(ctrl_c: Callable[..., None]) -> None:
    def endless(run: str, stop: int, *options: str) -> None:
        ctrl_c(stop)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(SystemExit):
            fit(run, "--trainer.max_steps", "-1", "--trainer.max_epochs", "-1", *options)

    endless("whole", 4)
    endless("run", 2)
    endless("run", 1, "--ckpt_path", "last")
    assert_same(*(torch.load(f"{run}/last.ckpt", weights_only=True)["state_dict"] for run in ("run", "whole")))


# Which checkpoint ------------------------------------------------------------------------------------------------


def test_the_newest_run_that_has_a_checkpoint_is_continued(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["fit", "--config", str(CONFIG), "--trainer.enable_progress_bar", "false"]
    main(options)
    main(options)
    Path("logs/addressable/10").mkdir()  # killed before its first checkpoint
    result = main([*options, "--trainer.max_steps", "6", "--ckpt_path", "last"])
    assert "continuing from logs/addressable/1/last.ckpt, step 4\n" in capsys.readouterr().out
    assert result.trainer.log_dir == "logs/addressable/1/"
    assert step_of(Path("logs/addressable/1")) == 6
    assert step_of(Path("logs/addressable/0")) == 4


def test_the_previous_checkpoint_is_used_where_the_last_one_is_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    fit("run", "--trainer.max_steps", "3")  # writes after steps 2 and 3
    last, previous = Path("run/last.ckpt"), Path("run/previous.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"run/last.ckpt is damaged .*: use run/previous.ckpt, of step 2$"):
        fit("run", "--ckpt_path", "run/last.ckpt")
    fit("run", "--ckpt_path", "last")
    said = capsys.readouterr().out
    assert "run/last.ckpt is damaged or not a checkpoint (" in said
    assert "); continuing from run/previous.ckpt, step 2\n" in said
    fit("whole")
    assert_same_end(Path("run"), Path("whole"))

    last.unlink()  # killed between the two renamings
    fit("run", "--ckpt_path", "last", "--trainer.max_steps", "5")
    assert step_of(Path("run")) == 5

    last.write_bytes(b"")
    previous.write_bytes(b"")
    with pytest.raises(UserError, match=r"run/last.ckpt is damaged .*: give the path of a .ckpt file"):
        fit("run", "--ckpt_path", "last")


@pytest.mark.parametrize("options", [[], ["--run_dir", "run"]])
def test_without_a_checkpoint_there_is_nothing_to_continue(options: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"there is no checkpoint in .* yet: start the run without --ckpt_path"
    ) as error:
        main(["fit", "--config", str(CONFIG), "--ckpt_path", "last", *options])
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_run_is_refused() -> None:
    fit("run", "--trainer.max_steps", "2")
    with pytest.raises(
        UserError, match=r"the checkpoint holds memory._bases of 8x1x4x4.*, not memory._bases of 4x1x4x4"
    ):
        fit("run", "--ckpt_path", "last", "--model.memory.num_bases", "4")
    with pytest.raises(UserError, match=r"started with data of seed 0, images 1295, not of seed 1, images 1295"):
        fit("run", "--ckpt_path", "last", "--data.seed", "1", "--trainer.max_steps", "4")
    torch.save({"state_dict": {}}, "foreign.ckpt")
    with pytest.raises(UserError, match=r"foreign.ckpt was not written by `rtp fit`, it has no global_step: give the"):
        fit("run", "--ckpt_path", "foreign.ckpt")
