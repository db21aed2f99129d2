"""The best memory and its score outlive a move of the run's folder."""

import shutil
from pathlib import Path

import pytest
import torch

from rtp.callbacks.best_checkpoint import BestCheckpoint
from rtp.cli import main

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 2 steps with a validation whose score nothing can beat."""
    monkeypatch.chdir(tmp_path)
    fit(tmp_path / "run", "--trainer.max_steps", "2")
    path = tmp_path / "run" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    (state,) = (state for key, state in checkpoint["callbacks"].items() if key.startswith("BestCheckpoint"))
    state["best_model_score"] = torch.tensor(1.0)
    state["best_k_models"] = {state["best_model_path"]: torch.tensor(1.0)}
    torch.save(checkpoint, path)
    return path.parent


def fit(folder: Path, *options: str) -> BestCheckpoint:
    settings = ["--trainer.val_check_interval", "2", "--trainer.enable_progress_bar", "false"]
    cli = main(["fit", "--config", str(CONFIG), "--run_dir", str(folder), *settings, *options])
    (best,) = (c for c in cli.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint))
    return best


def test_a_moved_run_keeps_its_best_memory(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    shutil.move(run, moved)
    best = (moved / "best.ckpt").read_bytes()
    callback = fit(moved, "--trainer.max_steps", "4", "--ckpt_path", "last")
    assert callback.best_model_score == 1
    assert Path(callback.best_model_path) == moved / "best.ckpt"
    assert (moved / "best.ckpt").read_bytes() == best


def test_a_run_that_goes_on_in_another_folder_has_a_best_memory_there(run: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        callback = fit(tmp_path / "branch", "--trainer.max_steps", "4", "--ckpt_path", str(run / "last.ckpt"))
    assert callback.best_model_score is not None
    assert callback.best_model_score < 1
    assert (tmp_path / "branch" / "best.ckpt").exists()


def test_a_run_that_was_not_validated_is_moved_without_a_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.val_check_interval", "100"]
    fit(tmp_path / "run", "--trainer.max_steps", "2", *short)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    callback = fit(tmp_path / "moved", "--trainer.max_steps", "4", "--ckpt_path", "last")
    assert callback.best_model_score is not None
    assert Path(callback.best_model_path) == tmp_path / "moved" / "best.ckpt"
