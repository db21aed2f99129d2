"""DC's module: a step and the life of a network written out beside it, resume, and the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.distributed as dist
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

import rtp
from rtp.callbacks import LastCheckpoint
from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.errors import UserError
from rtp.modules import (
    AddressableMemory,
    ConvNet,
    FlipOrRotate,
    GradientMatching,
    InnerAdam,
    InnerSGD,
    MemoryFactory,
    PixelMemory,
)
from rtp.modules.matching.base import gradient_distance
from rtp.modules.matching.gradient_matching import NETWORKS_KEY

SHAPE, CLASSES = (1, 4, 4), 4
CONF = Path(__file__).parents[2] / "conf"


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


def pixels(image_shape: tuple[int, int, int], num_classes: int) -> PixelMemory:
    return PixelMemory(image_shape, num_classes, images_per_class=2)


def addressable(image_shape: tuple[int, int, int], num_classes: int) -> AddressableMemory:
    return AddressableMemory(image_shape, num_classes, images_per_class=2, num_bases=4)


def matching(memory: MemoryFactory = pixels, **options: Any) -> GradientMatching:
    torch.manual_seed(0)
    given: dict[str, Any] = {"network": network, "slots_per_class": 99, "compile": False} | options
    module = GradientMatching(image_shape=SHAPE, num_classes=CLASSES, memory=memory, **given)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return module


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    # a subset of the labels
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, *SHAPE, generator=generator), torch.tensor([3, 1, 3, 1, 1, 3])


def distance(module: GradientMatching, net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """DC's loss with a graph of the gradient."""
    images, labels = batch
    parameters = list(net.parameters())

    def gradient(images: Tensor, label: int) -> Tensor:
        loss = F.cross_entropy(net(images), torch.full((len(images),), label))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])

    total = torch.zeros(())
    for label in (1, 3):
        recalled = gradient(module.memory.recall(torch.tensor([label]))[0], label)
        real = gradient(images[labels == label], label).detach()
        total = total + gradient_distance(recalled, real, [parameter.shape for parameter in parameters])
    return total


@pytest.mark.parametrize("memory", [pixels, addressable])
def test_a_step_matches_the_gradients_of_a_fresh_network(memory: MemoryFactory, batch: tuple[Tensor, Tensor]) -> None:
    module = matching(memory)
    torch.manual_seed(5)
    loss = module.training_step(batch, 0)
    loss.backward()
    found = [parameter.grad for parameter in module.memory.parameters()]

    torch.manual_seed(5)
    expected = distance(module, network(SHAPE, CLASSES), batch)
    torch.testing.assert_close(loss, expected)
    gradients = list(torch.autograd.grad(expected, list(module.memory.parameters())))
    torch.testing.assert_close(found, gradients, rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_classes_that_were_not_sampled_are_left_alone(batch: tuple[Tensor, Tensor]) -> None:
    module = matching()
    module.training_step(batch, 0).backward()
    gradient = module.memory.bases.grad
    assert gradient is not None
    moved = gradient.flatten(1).abs().sum(1) > 0
    assert moved.tolist() == [False, False, True, True, False, False, True, True]


def test_a_network_is_trained_between_its_matchings_and_then_replaced(batch: tuple[Tensor, Tensor]) -> None:
    rule = InnerSGD(0.1, 0.5)
    module = matching(matchings_per_network=3, network_epochs=2, network_batch_size=99, inner_optimizer=rule)
    torch.manual_seed(5)
    found = []
    for _ in range(5):
        found.append(module.outer_loss(*batch))
        with torch.no_grad():  # the memory is learned in between
            module.memory.bases.mul_(0.9)

    again = matching()
    torch.manual_seed(5)
    classes = torch.arange(CLASSES)
    expected = []
    for step in range(5):
        fresh = network(SHAPE, CLASSES)  # one is drawn in every step
        if step in (0, 3):
            net, optimizer = fresh, torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.5)
        else:
            for _ in range(2):
                torch.randperm(8)  # all recalled images are in one minibatch, in whatever order
                optimizer.zero_grad()
                images = again.memory.recall(classes).flatten(0, 1).detach()
                F.cross_entropy(net(images), classes.repeat_interleave(2)).backward()
                optimizer.step()
        torch.rand(1, 2, 2)  # the order of the slots in the matching
        expected.append(distance(again, net, batch).detach())
        with torch.no_grad():
            again.memory.bases.mul_(0.9)
    torch.testing.assert_close(torch.stack(found).detach(), torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_steps_bring_the_gradients_closer(batch: tuple[Tensor, Tensor]) -> None:
    module = matching()
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = module.outer_loss(*batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])


def test_augmentation_is_siamese_class_by_class(batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Tensor] = []
    original = FlipOrRotate.apply

    def record(self: FlipOrRotate, images: Tensor, parameters: Tensor) -> Tensor:
        applied.append(parameters)
        return original(self, images, parameters)

    monkeypatch.setattr(FlipOrRotate, "apply", record)
    matching(augmentation=FlipOrRotate()).outer_loss(*batch)
    recalled, real = applied
    assert torch.equal(recalled[0], recalled[1])
    assert torch.equal(recalled[2], recalled[3])
    assert not torch.equal(recalled[0], recalled[2])
    assert torch.equal(real, recalled[[2, 0, 2, 0, 0, 2]])  # classes 3 1 3 1 1 3


def test_the_optimizers_have_the_authors_values() -> None:
    module = matching()
    assert module.inner_optimizer == InnerSGD(0.01, 0.5)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (0.1, 0.5)


class Normed(nn.Sequential):
    """A network with BatchNorm."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, num_classes))


@pytest.mark.parametrize("name", ["slots_per_class", "matchings_per_network", "network_epochs", "network_batch_size"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} must be at least 1, got 0$"):
        matching(pixels, **{name: 0})


def test_batch_norm_is_refused() -> None:
    with pytest.raises(UserError, match=r"^GradientMatching does not support Normed, whose buffers .* InstanceNorm"):
        matching(network=Normed)


# Checkpoints -----------------------------------------------------------------------------------------------------


def checkpoint_of(module: GradientMatching) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 1}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def test_a_network_that_is_used_up_is_not_kept(batch: tuple[Tensor, Tensor]) -> None:
    module = matching(matchings_per_network=2)
    assert checkpoint_of(module)[NETWORKS_KEY] == [None]
    module.outer_loss(*batch)
    (state,) = checkpoint_of(module)[NETWORKS_KEY]
    assert (state["matchings"], state["steps"]) == (1, 0)
    module.outer_loss(*batch)
    assert checkpoint_of(module)[NETWORKS_KEY] == [None]


def test_a_process_without_a_network_keeps_its_place(
    batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = matching(matchings_per_network=2)
    module.outer_loss(*batch)

    def first_has_none(values: list[Any], value: Any) -> None:
        values[:] = [None, value]

    with monkeypatch.context() as patch:
        patch.setattr(dist, "is_initialized", lambda: True)
        patch.setattr(dist, "get_rank", lambda: 1)
        patch.setattr(dist, "get_world_size", lambda: 2)
        patch.setattr(dist, "all_gather_object", first_has_none)
        checkpoint = checkpoint_of(module)
    first, second = checkpoint[NETWORKS_KEY]
    assert first is None
    assert second["matchings"] == 1
    # so the first of the processes starts with a fresh network
    other = matching(matchings_per_network=2)
    other.on_load_checkpoint(checkpoint)
    assert checkpoint_of(other)[NETWORKS_KEY] == [None]


def test_checkpoints_of_other_modules_and_networks_are_refused(batch: tuple[Tensor, Tensor]) -> None:
    module = matching(matchings_per_network=2)
    module.outer_loss(*batch)
    checkpoint = checkpoint_of(module)

    def wider(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
        return ConvNet(image_shape, num_classes, width=4, depth=1)

    for change in ({"network": wider}, {"inner_optimizer": InnerAdam()}):
        other = matching(pixels, matchings_per_network=2, **change)
        other.on_load_checkpoint(checkpoint)
        with pytest.raises(UserError, match=r"^the checkpoint's network or its optimizer is another one: use the conf"):
            other.outer_loss(*batch)
    del checkpoint[NETWORKS_KEY]
    with pytest.raises(UserError, match=r"^the checkpoint is not one of GradientMatching: use the config.yaml"):
        matching().on_load_checkpoint(checkpoint)


def fit(run: str, *options: str, config: Path) -> None:
    main(["fit", "--config", str(config), "--run_dir", run, "--trainer.enable_progress_bar", "false", *options])


@pytest.mark.parametrize(("memory", "resumed"), [("PixelMemory", [0, 1, 2]), ("AddressableMemory", [1])])
def test_a_run_that_is_continued_ends_where_the_uninterrupted_one_does(
    memory: str, resumed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def snapshot(self: LastCheckpoint, trainer: L.Trainer) -> None:
        save(self, trainer)
        written.append(tmp_path / f"after-{len(written)}")
        shutil.copytree("run", written[-1])

    monkeypatch.chdir(tmp_path)
    save = LastCheckpoint._save
    config = yaml.safe_load((CONF / "gradient_matching.yaml").read_text())
    config["model"]["init_args"]["memory"] = {"class_path": memory, "init_args": {"images_per_class": 1}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    options = ["--checkpoint.every_n_steps", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", snapshot)
        fit("run", *options, config=path)
    kept = [torch.load(folder / "last.ckpt", weights_only=True)[NETWORKS_KEY][0] for folder in written]
    assert [state and state["matchings"] for state in kept] == [1, 2, None, 1, 2, 2]
    Path("run").rename("whole")
    whole = torch.load("whole/last.ckpt", weights_only=True)
    for number in resumed:
        written[number].rename("run")
        fit("run", *options, "--ckpt_path", "last", config=path)
        run = torch.load("run/last.ckpt", weights_only=True)
        for key in ("state_dict", "optimizer_states", "global_step", "rtp_seed", NETWORKS_KEY):
            torch.testing.assert_close(run[key], whole[key], rtol=0, atol=0)
        shutil.rmtree("run")


@pytest.mark.parametrize("config", ["gradient_matching", "distribution_matching"])
def test_a_run_is_tested_and_exported(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fit("run", config=CONF / f"{config}.yaml")
    main(["test", "--ckpt_path", "run/best.ckpt", "--evaluation.networks", "2"])
    report = json.loads(Path("run/test.json").read_text())
    assert (report["dataset"], report["networks"], report["storage_floats"]) == ("digits", 2, 640)
    export(["run/best.ckpt", "memory.safetensors"])
    memory = rtp.load("memory.safetensors")
    assert (memory.num_classes, memory.images_per_class) == (10, 1)
    main(["test", "--memory", "memory.safetensors", "--run_dir", "again", "--evaluation.networks", "2"])
    again = json.loads(Path("again/test.json").read_text())
    assert again["accuracy_mean"] == report["accuracy_mean"]
    assert "SiameseAugmentation(" in str(memory.protocol.augmentation)
    assert "accuracy (%)" in capsys.readouterr().out
