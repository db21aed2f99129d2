"""What all learners with one network have in common: state, outputs, and runs from the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from rtp.callbacks import LastCheckpoint
from rtp.cli import main
from rtp.errors import DivergenceError, UserError
from rtp.modules import GEM, Multitask, Online

CONFIGS = Path(__file__).parents[3] / "configs" / "continual" / "cpu"


def test_all_that_a_learner_knows_is_in_its_state(
    single_network: tuple[type[Any], dict[str, Any]], by_hand: Any
) -> None:
    # so that a run can be continued in the middle of a task and between two
    kind, arguments = single_network
    learner, other = (by_hand.learner(kind, own_heads=True, **arguments) for _ in range(2))
    batches = [by_hand.batch(task)._replace(last=place == 2) for task in range(3) for place in range(3)]

    def steps(module: Any, start: int, stop: int) -> None:
        for number in range(start, stop):
            torch.manual_seed(number)
            module.learn(batches[number])
            if batches[number].last:
                module.end_task(batches[number].task)
            assert module.storage_bytes <= module.budget_bytes

    steps(learner, 0, 4)
    for middle, end in ((4, 6), (6, 9)):
        other.load_state_dict(learner.state_dict())
        steps(learner, middle, end)
        steps(other, middle, end)
        torch.testing.assert_close(other.state_dict(), learner.state_dict(), rtol=0, atol=0)
        other = by_hand.learner(kind, own_heads=True, **arguments)
    images = batches[0].images
    torch.testing.assert_close(learner.predict(images, 1), learner.net(images)[:, 2:4])


def fit(run: str, *options: str) -> L.LightningModule:
    # 35 samples are three minibatches of 10 and one of 5
    small = {
        "data.init_args.source": "Digits",
        "data.init_args.tasks": 3,
        "data.init_args.samples_per_task": 35,
        "data.init_args.validation_samples": 20,
        "data.init_args.replays": 2,
        "model.init_args.network.init_args.hidden_width": 8,
        "trainer.max_epochs": 3,
        "trainer.enable_progress_bar": False,
    }
    configs = [CONFIGS / "streams" / "permutations.yaml", CONFIGS / "learners" / "gem.yaml"]
    files = [f"--config={path}" for path in configs]
    return main(["fit", *files, "--run_dir", run, *(f"--{k}={v}" for k, v in small.items()), *options]).model


def test_a_run_that_is_continued_ends_where_the_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def snapshot(self: LastCheckpoint, trainer: L.Trainer) -> None:
        save(self, trainer)
        written.append(tmp_path / f"after-{len(written)}")
        shutil.copytree("run", written[-1])

    monkeypatch.chdir(tmp_path)
    save = LastCheckpoint._save
    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", snapshot)
        learner = fit("run", "--checkpoint.every_n_steps=1")
    assert isinstance(learner, GEM)
    main(["test", "--ckpt_path", "run/last.ckpt", "--trainer.enable_progress_bar=false"])
    report = json.loads(Path("run/test.json").read_text())
    assert report["finished_tasks"] == 3
    assert report["storage_bytes"] == learner.storage_bytes == 48 * 64 * 4
    assert report["largest_storage_bytes"] == report["storage_bytes"]
    assert report["budget_bytes"] == 50 * 64 * 4
    weights = 64 * 8 + 8 + 8 * 10 + 10
    assert report["other_bytes"] == 4 * weights + 8 * (48 + 3 + 1)  # labels, counts of three tasks, finished tasks
    assert report["largest_other_bytes"] == report["other_bytes"]
    assert report["backward_transfer_interference"] is not None
    Path("run").rename("whole")
    whole = torch.load("whole/last.ckpt", weights_only=True)
    # within the second task, between the two times of a minibatch, and between the second and the third task
    for number in (10, 15):
        written[number].rename("run")
        fit("run", "--ckpt_path", "last")
        run = torch.load("run/last.ckpt", weights_only=True)
        torch.testing.assert_close(run["state_dict"], whole["state_dict"], rtol=0, atol=0)
        assert run["global_step"] == whole["global_step"] == 24
        shutil.rmtree("run")


def test_multitask_reads_the_tasks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = {"class_path": "MLP", "init_args": {"hidden_width": 8}}
    multitask = {"network": network, "learning_rate": 0.1, "passes": 2, "batch_size": 10}
    model = fit("run", "--model", json.dumps({"class_path": "Multitask", "init_args": multitask}))
    assert isinstance(model, Multitask)
    assert model.storage_bytes == 3 * 35 * 64 * 4


def test_a_task_is_classified_by_its_own_outputs(by_hand: Any) -> None:
    learner = by_hand.learner(Online, own_heads=True, learning_rate=0.1)
    images = by_hand.batch().images
    torch.testing.assert_close(learner.predict(images, 1), learner.net(images)[:, 2:4])
    shared = by_hand.learner(Online, learning_rate=0.1)
    torch.testing.assert_close(shared.predict(images, 1), shared.net(images))


def test_other_weights_can_be_judged(by_hand: Any) -> None:
    learner = by_hand.learner(Online, own_heads=True, learning_rate=0.1)
    samples = by_hand.samples(by_hand.batch(0), by_hand.batch(2))
    others = [torch.randn_like(weight) for weight in learner.weights]
    expected = by_hand.loss(torch.cat([weight.flatten() for weight in others]), samples)
    torch.testing.assert_close(learner.loss(*samples, weights=others), expected)
    assert learner.loss(*samples) != expected


def test_a_loss_that_is_no_number_stops_the_run(by_hand: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = by_hand.learner(Online, learning_rate=0.1)
    monkeypatch.setattr(learner, "divergence", DivergenceError)
    batch = by_hand.batch()
    with pytest.raises(DivergenceError, match="the loss is nan"):
        learner.learn(batch._replace(images=batch.images / 0 * 0))


def test_rates_must_be_positive(by_hand: Any) -> None:
    with pytest.raises(UserError, match="learning_rate must be positive, got 0"):
        by_hand.learner(Online, learning_rate=0)
