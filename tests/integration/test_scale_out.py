"""Two processes that train one memory: what each draws, what they average, what is written once."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.cli import main
from rtp.datamodules import ImageDataModule
from rtp.modules import MemoryDistillation
from rtp.runs.folders import common_run_folder
from rtp.utils.seeds import derived_seed, seed_generators

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"

PROGRAM = '''
"""rtp with a callback that writes down what each process sees; Lightning starts the second one with this file too."""

import torch
from lightning import Callback
from rtp.cli import app as cli


class Witness(Callback):
    def __init__(self):
        self.seen = {"batches": [], "networks": [], "gradients": [], "validation": 0}

    def on_train_start(self, trainer, module):
        self.seen["memory"] = {name: tensor.clone() for name, tensor in module.memory.state_dict().items()}
        original = module.unroll.meta_loss

        def meta_loss(network, optimizer, episode):
            self.seen["networks"].append(next(network.parameters()).detach().clone())
            return original(network, optimizer, episode)

        object.__setattr__(module.unroll, "meta_loss", meta_loss)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen["batches"].append(batch)

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.seen["gradients"].append([p.grad.clone() for p in module.memory.parameters()])

    def on_validation_batch_end(self, trainer, module, outputs, batch, *_):
        self.seen["validation"] += len(batch[1])

    def on_train_end(self, trainer, module):
        self.seen["accuracy"] = trainer.callback_metrics["val/accuracy"]
        self.seen["std"] = trainer.callback_metrics["val/accuracy_std"]
        self.seen["end"] = module.memory.state_dict()
        torch.save(self.seen, f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    cli.entry_point()
'''
OPTIONS = [
    *("--trainer.callbacks+=witness.Witness", "--trainer.enable_progress_bar", "false", "--trainer.max_steps", "3"),
    *("--trainer.val_check_interval", "3", "--evaluation.validation_networks", "3", "--data.classes_per_step", "4"),
    *("--trainer.accelerator", "cpu", "--checkpoint.every_n_steps", "2"),
]
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]


def program(folder: Path, *arguments: str) -> str:
    (folder / "witness.py").write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PL_", "RTP_", "LOCAL_RANK"))}
    result = subprocess.run(
        [sys.executable, "witness.py", *arguments],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes, continued after its end for one step more, and tested by both."""
    where = tmp_path_factory.mktemp("two")
    said = program(where, "fit", "--config", str(CONFIG), *OPTIONS, *TWO)
    (where / "said.txt").write_text(said)
    return where


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryDistillation, ImageDataModule]:
    """The same memory and data in this process."""
    monkeypatch.chdir(tmp_path)
    options = ["--trainer.enable_progress_bar", "false", "--trainer.max_steps", "0", "--data.classes_per_step", "4"]
    result = main(["fit", "--config", str(CONFIG), *options])
    return result.model, result.datamodule


def test_each_process_draws_its_own_batches_and_networks(
    ranks: list[dict[str, Any]], alone: tuple[MemoryDistillation, ImageDataModule]
) -> None:
    first, second = ranks
    for step in range(3):
        assert not torch.equal(first["batches"][step][0], second["batches"][step][0])
        assert not torch.equal(first["networks"][step], second["networks"][step])
    labels = [[batch[1].unique().tolist() for batch in seen["batches"]] for seen in ranks]
    assert labels[0] != labels[1]  # classes
    outer = alone[1].train_dataloader()
    assert all(torch.equal(a, b) for a, b in zip(first["batches"][2], outer.batch(2), strict=True))


def test_the_gradient_is_the_mean_of_the_processes_own(
    ranks: list[dict[str, Any]], alone: tuple[MemoryDistillation, ImageDataModule]
) -> None:
    module, _ = alone
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # the trainer is at its end
    own: list[tuple[Tensor, ...]] = []
    for rank, seen in enumerate(ranks):
        module.memory.load_state_dict(seen["memory"])
        seed_generators(derived_seed(0, 0, rank))
        loss = module.training_step(seen["batches"][0], 0)
        own.append(torch.autograd.grad(loss, list(module.memory.parameters())))
    for number, averaged in enumerate(zip(*(seen["gradients"][0] for seen in ranks), strict=True)):
        assert torch.equal(*averaged)
        torch.testing.assert_close(averaged[0], (own[0][number] + own[1][number]) / 2)
        assert not torch.allclose(own[0][number], own[1][number])


def test_both_processes_end_with_the_same_memory_and_metric(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks
    assert all(torch.equal(first["end"][name], second["end"][name]) for name in first["end"])
    assert first["accuracy"] == second["accuracy"] > 0
    assert first["std"] == second["std"] > 0
    assert first["validation"] == second["validation"] == 143  # the whole split, for the networks of each


def test_the_run_is_written_once(folder: Path) -> None:
    assert [path.name for path in (folder / "logs" / "addressable").iterdir()] == ["0"]
    run = folder / "logs" / "addressable" / "0"
    names = sorted(path.name for path in run.iterdir())
    assert len([name for name in names if name.startswith("events.")]) == 1
    assert {"best.ckpt", "last.ckpt", "previous.ckpt", "config.yaml", "recalled.png"} <= set(names)
    said = (folder / "said.txt").read_text()
    assert len(re.findall("^distilling", said, flags=re.MULTILINE)) == 1
    assert len(re.findall("^best validation accuracy", said, flags=re.MULTILINE)) == 1
    assert "Traceback" not in said


def test_one_process_measures_what_two_have_measured(
    folder: Path, ranks: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = folder / "logs" / "addressable" / "0"
    result = main(["validate", "--ckpt_path", str(run / "last.ckpt"), "--run_dir", "alone"])
    assert result.trainer.callback_metrics["val/accuracy"] == pytest.approx(float(ranks[0]["accuracy"]), abs=1e-6)
    assert result.trainer.callback_metrics["val/accuracy_std"] == pytest.approx(float(ranks[0]["std"]), abs=1e-6)


def test_a_run_of_two_processes_is_continued_exactly(folder: Path, ranks: list[dict[str, Any]]) -> None:
    run = folder / "logs" / "addressable" / "0"
    whole = torch.load(run / "last.ckpt", weights_only=True)
    previous = torch.load(run / "previous.ckpt", weights_only=True)
    (run / "previous.ckpt").replace(run / "last.ckpt")
    said = program(folder, "fit", "--config", str(CONFIG), *OPTIONS, *TWO, "--ckpt_path", "last")
    assert said.count(f"continuing from logs/addressable/0/last.ckpt, step {previous['global_step']}") == 1
    again = torch.load(run / "last.ckpt", weights_only=True)
    torch.testing.assert_close(again["state_dict"], whole["state_dict"], rtol=0, atol=0)


def test_two_processes_compile_the_stepwise_engine_and_one_network_is_enough_for_both(tmp_path: Path) -> None:
    config = CONFIG.with_name("stepwise.yaml")
    compiled = ["--model.unroll.compile", "true", "--evaluation.validation_networks", "1"]
    said = program(tmp_path, "fit", "--config", str(config), *OPTIONS, *TWO, *compiled, "--run_dir", "run")
    assert said.count("compiled gradient of a step in") >= 2
    assert "slower" not in said
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first["end"][name], second["end"][name]) for name in first["end"])
    assert any(not torch.equal(first["end"][name], first["memory"][name]) for name in first["end"])
    assert first["accuracy"] == second["accuracy"] > 0
    assert not torch.equal(first["batches"][0][0], second["batches"][0][0])


def test_other_processes_take_the_folder_of_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RTP_RUN_DIR", "logs/x/7")  # left by an earlier run
    config = {"config": ["x.yaml"]}
    assert common_run_folder(config) == Path("logs/x/0")
    assert Path("logs/x/0").is_dir()  # made by the first process
    monkeypatch.setattr("lightning.pytorch.utilities.rank_zero_only.rank", 1)
    assert common_run_folder(config) == Path("logs/x/0")
    monkeypatch.delenv("RTP_RUN_DIR")  # started by torchrun
    Path("logs/x/0").rmdir()
    assert common_run_folder(config) == Path("logs/x/0")
