"""Distilling tasks one by one: what a step trains, with which labels, and that tasks never meet."""

import lightning as L
import pytest
import torch
from torch import Tensor

from rtp.datamodules import Digits
from rtp.errors import UserError
from rtp.modules import (
    ConvNet,
    HigherUnroll,
    ImageAddressedMemory,
    InnerSGD,
    MemoryDistillation,
    PixelMemory,
    TaskDistillation,
)
from rtp.modules.distillation.base import Distillation
from rtp.modules.distillation.task_distillation import Extrapolation
from rtp.modules.unroll.base import RealImages

SHAPE = (1, 4, 4)
TWO = Extrapolation((2,))


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


def memory(image_shape: tuple[int, int, int], num_classes: int) -> PixelMemory:
    return PixelMemory(image_shape, num_classes, images_per_class=2)


def quiet(module: Distillation) -> Distillation:
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return module


def distillation(task_seed: int | None = None) -> TaskDistillation:
    torch.manual_seed(0)
    return TaskDistillation(
        SHAPE,
        6,
        memory,
        network,
        HigherUnroll(2),
        1,
        InnerSGD(0.3, 0.9),
        classes_per_task=2,
        task_seed=task_seed,
        extrapolation=Extrapolation((3, 2)),
    )


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.tensor([2, 2, 3, 3])


def test_an_outer_step_is_that_of_the_task_alone(batch: tuple[Tensor, Tensor]) -> None:
    module = distillation()
    images, labels = batch
    quiet(module)
    torch.manual_seed(5)
    module.training_step((images, labels), 0).backward()

    alone = MemoryDistillation(SHAPE, 2, memory, network, HigherUnroll(2), 1, InnerSGD(0.3, 0.9))
    alone.memory.load_state_dict(module.memory.of_task(1).state_dict())
    quiet(alone)
    torch.manual_seed(5)
    alone.training_step((images, labels - 2), 0).backward()

    grad = module.memory.of_task(1).bases.grad
    assert grad is not None
    assert grad.abs().max() > 0
    assert torch.equal(grad, alone.memory.bases.grad)  # type: ignore[arg-type]
    assert module.memory.of_task(0).bases.grad is None
    assert module.memory.of_task(2).bases.grad is None


def test_labels_are_renumbered_by_the_split_and_networks_have_an_output_each() -> None:
    module = distillation(task_seed=0)
    for task, classes in enumerate(module.memory.tasks):
        labels = torch.tensor([classes[1], classes[0], classes[1]])
        episode, ways = module.episode(torch.zeros(3, *SHAPE), labels)
        assert isinstance(episode.objective, RealImages)
        assert episode.objective.labels.tolist() == [1, 0, 1]
        assert ways == 2
        assert torch.equal(episode.images, module.memory.of_task(task).recall(torch.arange(2)).flatten(0, 1))
        assert episode.labels.tolist() == [0, 0, 1, 1]
    only_one, ways = module.episode(torch.zeros(1, *SHAPE), torch.tensor([module.memory.tasks[2][1]]))
    assert (set(only_one.labels.tolist()), ways) == ({1}, 2)  # fewer classes a step than a task has


def test_the_momentum_of_another_task_does_not_move_a_memory(batch: tuple[Tensor, Tensor]) -> None:
    module = distillation()
    quiet(module)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    for labels in ([2, 2, 3, 3], [0, 0, 1, 1]):
        before = [module.memory.of_task(task).bases.detach().clone() for task in range(3)]
        optimizer.zero_grad()
        module.training_step((batch[0], torch.tensor(labels)), 0).backward()
        optimizer.step()
        moved = [not torch.equal(module.memory.of_task(t).bases, old) for t, old in enumerate(before)]
        assert moved == [task == labels[0] // 2 for task in range(3)]


def test_gradients_of_two_tasks_are_not_accumulated(monkeypatch: pytest.MonkeyPatch) -> None:
    def training_step(*_: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(TaskDistillation, "training_step", training_step)
    trainer = L.Trainer(
        accelerator="cpu", max_steps=2, accumulate_grad_batches=2, logger=False, enable_checkpointing=False
    )
    message = r"accumulate_grad_batches is 2, but .*: use --trainer.accumulate_grad_batches 1"
    with pytest.raises(UserError, match=message) as error:
        trainer.fit(distillation(), datamodule=Digits())
    assert "\n" not in str(error.value)


def test_a_memory_that_is_addressed_by_images_is_refused() -> None:
    def images(shape: tuple[int, int, int], classes: int) -> ImageAddressedMemory:
        return ImageAddressedMemory(shape, classes, network, query_dim=4)

    message = r"Distillation learns a memory that is addressed by labels, .* by images: change model.memory"
    with pytest.raises(UserError, match=f"Task{message}"):
        TaskDistillation(
            SHAPE, 6, images, network, HigherUnroll(2), 1, classes_per_task=2, extrapolation=Extrapolation((2,))
        )
    with pytest.raises(UserError, match=f"Memory{message}"):
        MemoryDistillation(SHAPE, 6, images, network, HigherUnroll(2), 1)


def test_several_processes_have_to_be_told_of_memories_that_a_step_leaves_alone() -> None:
    module, quiet = distillation(), {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    module.trainer = L.Trainer(strategy="ddp", devices=2, **quiet)  # type: ignore[arg-type]
    module.trainer.datamodule = data = Digits()  # type: ignore[attr-defined]
    data.setup("fit")
    with pytest.raises(UserError, match=r"use --trainer.strategy ddp_find_unused_parameters_true") as error:
        module.setup("fit")
    assert "\n" not in str(error.value)
    module.trainer = L.Trainer(strategy="ddp_find_unused_parameters_true", devices=2, **quiet)  # type: ignore[arg-type]
    module.trainer.datamodule = data  # type: ignore[attr-defined]
    module.setup("fit")
    assert data.class_groups == module.memory.tasks
    module.teardown("fit")
    assert data.class_groups is None


def test_memories_are_of_the_classes_that_the_checkpoint_says() -> None:
    checkpoint = {"state_dict": distillation(0).state_dict()}
    distillation(0).on_save_checkpoint(checkpoint)
    distillation(0).on_load_checkpoint(checkpoint)
    with pytest.raises(
        UserError, match=r"memory 0 of the checkpoint is of the classes \[.*\], not \[0, 1\]: leave out --model.task_s"
    ):
        distillation().on_load_checkpoint(checkpoint)


def test_fewer_tasks_than_ways_are_refused_before_training() -> None:
    with pytest.raises(UserError, match=r"ways is 5, but there are 3 class sets to take .* 2 to 3"):
        TaskDistillation(SHAPE, 6, memory, network, HigherUnroll(2), 1, classes_per_task=2)
    with pytest.raises(UserError, match=r"classes_per_task is 4, but 6 classes .*: use one of 2, 3, 6"):
        TaskDistillation(SHAPE, 6, memory, network, HigherUnroll(2), 1, classes_per_task=4)
    with pytest.raises(UserError, match=r"slots_per_class must be at least 1, got 0"):
        TaskDistillation(
            SHAPE, 6, memory, network, HigherUnroll(2), 0, classes_per_task=2, extrapolation=Extrapolation((2,))
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": ()}, "ways is empty"),
        ({"upper_bound_tasks": 0}, "upper_bound_tasks must be at least 1, got 0"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
    ],
)
def test_impossible_test_tasks_are_refused(arguments: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Extrapolation(**arguments)  # type: ignore[arg-type]
