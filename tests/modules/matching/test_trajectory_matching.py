"""Trajectory matching: one outer step written out, the preparation of the experts, and whole runs."""

import json
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import rtp
from rtp.cli import RtpCLI, main
from rtp.cli.commands.export import export
from rtp.errors import UserError
from rtp.modules import (
    AddressableMemory,
    ConvNet,
    FlipOrRotate,
    HigherUnroll,
    InnerSGD,
    PixelMemory,
    SiameseAugmentation,
    StepwiseUnroll,
    TrajectoryMatching,
)
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.matching.experts import ExpertBuffer
from rtp.modules.matching.trajectory_matching import matching_loss
from rtp.modules.networks.training import TrainingProtocol
from rtp.modules.unroll.base import Unroll, draw_minibatches

SHAPE, CLASSES, EXPERTS = (1, 4, 4), 3, 4
CONFIG = Path(__file__).parents[2] / "conf" / "trajectory.yaml"
MEMORIES = {
    "pixel": lambda shape, classes: PixelMemory(shape, classes, images_per_class=2),
    "addressable": lambda shape, classes: AddressableMemory(shape, classes, images_per_class=2, num_bases=2),
}


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


def matching(memory: str, folder: Path, unroll: Unroll, augmentation: Augmentation | None = None) -> TrajectoryMatching:
    """A module in float64 whose experts are random numbers."""
    torch.manual_seed(0)
    module = TrajectoryMatching(
        image_shape=SHAPE,
        num_classes=CLASSES,
        memory=MEMORIES[memory],
        network=network,
        unroll=unroll,
        slots_per_class=1,
        experts=EXPERTS,
        expert_epochs=2,
        max_start_epoch=1,
        expert_protocol=TrainingProtocol(epochs=4),
        inner_optimizer=InnerSGD(0.3, 0.9),
        augmentation=augmentation,
    ).double()
    module.fresh_network = lambda *_: network(SHAPE, CLASSES).double()  # type: ignore[method-assign]
    module.buffer = ExpertBuffer(folder, {}, 4)
    size = sum(parameter.numel() for parameter in network(SHAPE, CLASSES).parameters())
    for number in range(EXPERTS):
        module.buffer.store(number, torch.randn(5, size, dtype=torch.float64))
    return module


BATCH = torch.zeros(1, *SHAPE, dtype=torch.float64), torch.tensor([2])


def test_the_loss_by_hand() -> None:
    theta, start, target = (torch.tensor(values) for values in ([1.0, 2.0], [0.0, 0.0], [1.0, 4.0]))
    assert matching_loss(theta, start, target).item() == pytest.approx(4 / 17)
    assert matching_loss(start, start, target).item() == 1
    assert matching_loss(target, start, target).item() == 0


@pytest.mark.parametrize("augmentation", [None, FlipOrRotate(), SiameseAugmentation()], ids=["plain", "flip", "all"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_an_outer_step_written_out(memory: str, augmentation: Augmentation | None, tmp_path: Path) -> None:
    module = matching(memory, tmp_path, HigherUnroll(3), augmentation)
    torch.manual_seed(5)
    loss = module.outer_loss(*BATCH)
    loss.backward()

    torch.manual_seed(5)
    number, start = int(torch.randint(4, ())), int(torch.randint(2, ()))
    assert module.buffer is not None
    begin, target = module.buffer.weights(number, (start, start + 2))
    student = network(SHAPE, CLASSES).double()
    nn.utils.vector_to_parameters(begin, student.parameters())
    theta = [parameter.detach().requires_grad_() for parameter in student.parameters()]
    names = [name for name, _ in student.named_parameters()]
    images = module.memory.recall(torch.arange(CLASSES)).flatten(0, 1)
    labels = torch.arange(CLASSES).repeat_interleave(module.memory.num_slots)
    minibatches = draw_minibatches(CLASSES, module.memory.num_slots, 1, 3)
    draws = augmentation.sample(3 * CLASSES, "cpu").split(CLASSES) if augmentation else [None] * 3
    momentum = [torch.zeros_like(p) for p in theta]
    for chosen, draw in zip(minibatches, draws, strict=True):
        weights = dict(zip(names, theta, strict=True))
        batch = images[chosen] if augmentation is None else augmentation.apply(images[chosen], draw)
        answers = torch.func.functional_call(student, weights, (batch,))
        gradients = torch.autograd.grad(F.cross_entropy(answers, labels[chosen]), theta, create_graph=True)
        momentum = [0.9 * m + g for m, g in zip(momentum, gradients, strict=True)]
        theta = [p - 0.3 * m for p, m in zip(theta, momentum, strict=True)]
    end = torch.cat([p.flatten() for p in theta])
    expected = (end - target).norm() ** 2 / (begin - target).norm() ** 2
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    parameters = list(module.memory.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("augmentation", [None, SiameseAugmentation()], ids=["plain", "augmented"])
def test_the_stepwise_engine_has_the_same_gradient(augmentation: Augmentation | None, tmp_path: Path) -> None:
    gradients = []
    for place, unroll in enumerate((HigherUnroll(3), StepwiseUnroll(3, compile=False))):
        module = matching("addressable", tmp_path / str(place), unroll, augmentation)
        torch.manual_seed(5)
        module.outer_loss(*BATCH).backward()
        gradients.append([p.grad for p in module.memory.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_every_expert_and_start_epoch_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: set[tuple[int, tuple[int, ...]]] = set()
    original = ExpertBuffer.weights

    def record(self: ExpertBuffer, number: int, epochs: tuple[int, ...]) -> tuple[Tensor, ...]:
        drawn.add((number, epochs))
        return original(self, number, epochs)

    monkeypatch.setattr(ExpertBuffer, "weights", record)
    module = matching("pixel", tmp_path, HigherUnroll(1))
    for _ in range(60):
        module.outer_loss(*BATCH)
    assert drawn == {(number, epochs) for number in range(EXPERTS) for epochs in ((0, 2), (1, 3))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots_per_class": 0}, "slots_per_class must be at least 1, got 0"),
        ({"experts": 0}, "experts must be at least 1, got 0"),
        ({"expert_epochs": 0}, "expert_epochs must be at least 1, got 0"),
        ({"max_start_epoch": -1}, "max_start_epoch must be at least 0, got -1"),
        ({"expert_seed": -1}, "expert_seed must be at least 0, got -1"),
        (
            {"max_start_epoch": 49},
            r"experts of 50 epochs end before max_start_epoch 49 \+ expert_epochs 2: use expert_protocol.epochs >= 51",
        ),
    ],
)
def test_impossible_arguments_are_refused(change: dict[str, int], message: str) -> None:
    arguments: dict[str, Any] = {"slots_per_class": 1, "experts": 1, "expert_epochs": 2, "max_start_epoch": 2} | change
    with pytest.raises(UserError, match=message):
        TrajectoryMatching(
            image_shape=SHAPE,
            num_classes=CLASSES,
            memory=MEMORIES["pixel"],
            network=network,
            unroll=HigherUnroll(1),
            **arguments,
        )


# Whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(run: str, *options: str) -> RtpCLI:
    quiet = ["--trainer.enable_progress_bar", "false", "--model.experts_dir", "experts"]
    return main(["fit", "--config", str(CONFIG), "--run_dir", run, *quiet, *options])


def memory_of(run: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(f"{run}/last.ckpt", weights_only=True)["state_dict"]
    return state


def test_a_killed_preparation_and_a_continued_run_end_where_the_whole_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit("whole")
    Path("experts").rename("whole_experts")

    stored: list[int] = []
    original = ExpertBuffer.store

    def store(self: ExpertBuffer, number: int, weights: Tensor) -> None:
        if stored == [0]:
            raise KeyboardInterrupt  # in the second expert
        original(self, number, weights)
        stored.append(number)

    with monkeypatch.context() as patch:
        patch.setattr(ExpertBuffer, "store", store)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit("run")
    kept = Path("experts/expert_0000.safetensors")
    written = kept.stat().st_mtime_ns
    assert not Path("experts/expert_0001.safetensors").exists()
    shutil.rmtree("run")
    fit("run", "--trainer.max_steps", "2")
    assert kept.stat().st_mtime_ns == written
    for name in ("expert_0000.safetensors", "expert_0001.safetensors"):
        assert (Path("experts") / name).read_bytes() == (Path("whole_experts") / name).read_bytes()
    fit("run", "--ckpt_path", "last")
    torch.testing.assert_close(memory_of("run"), memory_of("whole"), rtol=0, atol=0)


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_share_the_experts_out(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtp.modules.matching.trajectory_matching.rank_and_world_size", lambda: (rank, 2))
    fit("run", "--trainer.max_steps", "0")
    assert [path.name for path in Path("experts").iterdir()] == [f"expert_000{rank}.safetensors"]


def test_an_image_is_augmented_anew_at_each_step(tmp_path: Path) -> None:
    module = matching("pixel", tmp_path, HigherUnroll(40), FlipOrRotate(90))
    episode = module._episode(torch.sum)
    assert episode.minibatches.flatten().tolist() == list(range(40 * CLASSES))
    assert episode.labels[episode.minibatches].tolist() == [list(range(CLASSES))] * 40
    # of two images of a class
    assert len({tuple(image.flatten().tolist()) for image in episode.images[episode.labels == 0]}) > 20


def test_an_expert_that_another_run_trains_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fit("other", "--trainer.max_steps", "0")
    done = {path.name: path.read_bytes() for path in Path("experts").iterdir()}
    shutil.rmtree("experts")
    trained: list[int] = []
    original = TrajectoryMatching._trained_expert

    held = threading.Event()

    def other_run(buffer: ExpertBuffer) -> None:
        with buffer.claimed(1, wait=False) as free:
            assert free
            held.set()
            time.sleep(0.5)
            (Path("experts") / "expert_0001.safetensors").write_bytes(done["expert_0001.safetensors"])

    def train(self: TrajectoryMatching, number: int, *rest: Any) -> Tensor:
        trained.append(number)
        assert self.buffer is not None
        if not held.is_set():  # from now on another run has the second expert, which it stores and gives back
            threading.Thread(target=other_run, args=(self.buffer,)).start()
            assert held.wait(5)
        return original(self, number, *rest)

    monkeypatch.setattr(TrajectoryMatching, "_trained_expert", train)
    fit("run", "--trainer.max_steps", "0")
    assert trained == [0]
    assert {path.name: path.read_bytes() for path in Path("experts").iterdir()} == done  # no lock is left behind


def test_an_expert_that_another_run_gave_up_is_trained(tmp_path: Path) -> None:
    buffer = ExpertBuffer(tmp_path, {}, 1)
    with buffer.claimed(0, wait=False) as first, buffer.claimed(0, wait=False) as second:
        assert (first, second) == (True, False)
    with buffer.claimed(0, wait=True) as free:
        assert free
        assert not buffer.holds(0)


def test_test_and_export_need_no_experts(capsys: pytest.CaptureFixture[str]) -> None:
    fit("run", "--model.memory.images_per_class", "2")
    shutil.rmtree("experts")
    main(["test", "--ckpt_path", "run/best.ckpt", "--evaluation.baselines", "true"])
    rows = json.loads(Path("run/test.json").read_text())["results"]
    assert [row["training_set"] for row in rows][:3] == ["distilled", "random real", "herding"]
    export(["run/best.ckpt", "memory.safetensors"])
    memory = rtp.load("memory.safetensors")
    assert memory.images_per_class == 8
    arguments = memory.description.config["model"]["init_args"]
    assert (arguments["experts"], arguments["experts_dir"]) == (2, None)
    assert not Path("experts").exists()
    main(["test", "--memory", "memory.safetensors", "--run_dir", "again", "--evaluation.networks", "1"])


def test_experts_of_another_network_are_refused_before_training() -> None:
    fit("run", "--trainer.max_steps", "1")
    with pytest.raises(UserError, match=r"expert_0000.safetensors' is an expert of other things: network \("):
        fit("other", "--model.network.init_args.width", "4")


def test_networks_with_running_statistics_are_refused() -> None:
    class Normed(nn.Sequential):
        def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
            super().__init__(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, num_classes))

    module = TrajectoryMatching(
        image_shape=SHAPE,
        num_classes=CLASSES,
        memory=MEMORIES["pixel"],
        network=Normed,
        unroll=HigherUnroll(1),
        slots_per_class=1,
        experts=1,
        expert_epochs=1,
        max_start_epoch=0,
    )
    module._trainer = SimpleNamespace(datamodule=SimpleNamespace(train_set=BATCH))  # type: ignore[assignment]
    with pytest.raises(UserError, match="TrajectoryMatching does not support Normed, whose buffers change"):
        module.on_fit_start()
