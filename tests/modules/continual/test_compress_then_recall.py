"""Compress, then recall: an outer step written out beside it, the storage at every step, recall, and the errors."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import DivergenceError, UserError
from rtp.modules import AddressableMemory, CompressThenRecall, HigherUnroll, InnerSGD, Memory, PixelMemory
from rtp.modules.distillation.base import MemorySource
from rtp.modules.memories.number_formats import rounded
from rtp.modules.networks import MLP
from rtp.modules.networks.training import TrainingProtocol
from rtp.modules.unroll.base import draw_minibatches

SHAPE, CLASSES, TASKS, IMAGES = (1, 4, 4), 3, 4, 24  # 2 images a class for each task: 384 bytes of 1,536
STREAM = {"image_shape": SHAPE, "num_classes": CLASSES, "total_classes": CLASSES, "num_tasks": TASKS}


def network(image_shape: tuple[int, int, int], num_classes: int) -> MLP:
    return MLP(image_shape, num_classes, hidden_width=5)


def addressable(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
    return AddressableMemory(image_shape, num_classes, images_per_class, num_bases=4, downsampling=1)


class ByItself(CompressThenRecall):
    """Without a trainer."""

    def _optimizer(self) -> Any:
        self.optimizer = getattr(self, "optimizer", None) or self.configure_optimizers()
        return self.optimizer

    def manual_backward(self, loss: Tensor, *_: Any, **__: Any) -> None:
        loss.backward()

    def log(self, *_: Any, **__: Any) -> None:
        pass


def learner(memory: Any = addressable, **arguments: Any) -> ByItself:
    torch.manual_seed(0)
    defaults: dict[str, Any] = STREAM | {
        "network": network,
        "memory_images": IMAGES,
        "unroll": HigherUnroll(2),
        "slots_per_class": 1,
        "reservoir_samples": 4,
        "inner_optimizer": InnerSGD(0.3, 0.9),
    }
    return ByItself(memory, **defaults | arguments)


def batch(task: int, number: int, replay: int = 0, last: bool = False) -> StreamBatch:
    generator = torch.Generator().manual_seed(1000 * task + number)
    labels = torch.randint(CLASSES, (5,), generator=generator)
    return StreamBatch(torch.randn(5, *SHAPE, generator=generator), labels, task, replay, last)


def stored(module: ByItself, task: int) -> Memory:
    memory = module.stored[task]
    assert isinstance(memory, Memory)
    return memory


def learn_tasks(module: ByItself, tasks: range, batches: int = 6, replays: int = 2) -> None:
    for task in tasks:
        for number in range(batches):
            for replay in range(replays):
                last = number == batches - 1 and replay == replays - 1
                module.training_step(batch(task, number, replay, last), number)


def test_an_outer_step_is_the_meta_gradient_on_the_minibatch_and_a_draw_from_the_reservoir() -> None:
    def pixels(shape: Any, num_classes: int, images_per_class: float) -> Memory:
        return PixelMemory(shape, num_classes, images_per_class)

    module = learner(pixels, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5))
    module.learn(batch(0, 0))
    before = module.memory.bases.detach().clone().requires_grad_()
    held_images, held_labels, _ = (part.clone() for part in module.reservoir.content())
    incoming = batch(0, 1)
    torch.manual_seed(5)
    module.learn(incoming)

    torch.manual_seed(5)
    drawn = torch.randperm(5)[:4]
    real_images = torch.cat([incoming.images, held_images[drawn]])
    real_labels = torch.cat([incoming.labels, held_labels[drawn]])
    minibatches = draw_minibatches(CLASSES, 2, 1, 2)
    fresh = network(SHAPE, CLASSES)
    names, theta = zip(*((name, p.detach().requires_grad_()) for name, p in fresh.named_parameters()), strict=True)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(fresh, dict(zip(names, theta, strict=True)), images), labels)

    momentum = [torch.zeros_like(p) for p in theta]
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    for chosen in minibatches:
        gradients = torch.autograd.grad(loss(before[chosen], labels[chosen]), theta, create_graph=True)
        momentum = [0.9 * m + g for m, g in zip(momentum, gradients, strict=True)]
        theta = tuple(p - 0.3 * m for p, m in zip(theta, momentum, strict=True))
    (gradient,) = torch.autograd.grad(loss(real_images, real_labels), before)
    assert gradient.abs().max() > 1e-4
    torch.testing.assert_close(module.memory.bases.detach(), before.detach() - 0.5 * gradient)


def test_the_gradient_is_clipped_to_its_norm() -> None:
    steps = []
    for clip in (None, 1e-3):
        module = learner(gradient_clip=clip, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0))
        before = torch.nn.utils.parameters_to_vector(module.memory.parameters()).detach().clone()
        module.learn(batch(0, 0))
        steps.append(torch.nn.utils.parameters_to_vector(module.memory.parameters()).detach() - before)
    assert steps[0].norm() > 1e-2
    torch.testing.assert_close(steps[1], steps[0] * (1e-3 / steps[0].norm()), rtol=1e-2, atol=1e-7)


def test_a_minibatch_enters_the_reservoir_once() -> None:
    module = learner()
    for replay in range(3):
        module.learn(batch(0, 0, replay))
    assert len(module.reservoir) == 5
    assert torch.equal(module.reservoir.content()[0], batch(0, 0).images)


def test_the_budget_holds_at_every_step() -> None:
    module = learner()
    image, memory = 64, module.memory.storage_bytes
    assert 344 < memory <= 384  # 1/T of 1,536: 4 bases of 16, and matrices of 3 x 4
    stored, capacities = [], []
    for task in range(TASKS):
        capacities.append(module.reservoir.capacity)
        for number in range(6):
            for replay in range(2):
                module.training_step(batch(task, number, replay, number == 5 and replay == 1), number)
                stored.append(module.storage_bytes)
                assert module.storage_bytes == int(module.finished_tasks) * memory + len(module.reservoir) * image
    assert max(stored) <= module.budget_bytes == 1536
    # B.2: 1 - (t - 1)/T of the storage for task t, and what rounding of the memories leaves
    assert capacities == [(1536 - task * memory) // image for task in range(TASKS)]
    for task, capacity in enumerate(capacities):
        assert IMAGES * (1 - task / TASKS) <= capacity < IMAGES * (1 - task / TASKS) + 2
    assert stored[-1] == TASKS * memory
    assert max(stored) > 1536 - image  # what is free is used


def test_a_finished_memory_is_stored_and_everything_else_starts_afresh() -> None:
    module = learner(optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01))
    learn_tasks(module, range(1))
    end = {name: tensor.clone() for name, tensor in stored(module, 0).state_dict().items()}
    assert not torch.equal(module.memory.bases, stored(module, 0).bases)
    assert module._optimizer().state == {}
    assert len(module.reservoir) == module.reservoir.seen == 0
    assert not any(parameter.requires_grad for parameter in module.stored.parameters())
    fresh = module.memory.bases.detach().clone()
    learn_tasks(module, range(1, 2))
    assert not torch.equal(stored(module, 1).bases, fresh)  # it is the learned one that is stored
    for name, tensor in end.items():
        assert torch.equal(stored(module, 0).state_dict()[name], tensor)
        assert tensor.dtype == torch.float32
    images, labels = module.recalled(0)
    assert torch.equal(images, stored(module, 0).recall(torch.arange(3)).flatten(0, 1))
    assert torch.equal(labels, torch.arange(3).repeat_interleave(module.memory.num_slots))


def test_networks_for_a_task_are_trained_on_what_its_memory_recalls() -> None:
    module = learner(networks=3, protocol=TrainingProtocol(epochs=200, learning_rate=0.1))
    learn_tasks(module, range(2))
    generators = torch.get_rng_state()
    classifiers = module.classifiers(1)
    assert torch.equal(torch.get_rng_state(), generators)
    images, labels = module.recalled(1)
    assert len(classifiers) == 3
    for classifier in classifiers:
        assert (classifier(images).argmax(1) == labels).float().mean() > 0.9
    first, again = classifiers[0](images), module.predict(images, 1)
    assert torch.equal(first, again)  # whenever they are asked for
    assert not torch.equal(first, classifiers[1](images))


def test_without_raw_samples_the_incoming_minibatch_alone_counts() -> None:
    module = learner(reservoir_samples=0)
    sizes: list[int] = []
    original = HigherUnroll.meta_loss

    def record(self: HigherUnroll, net: Any, optimizer: Any, episode: Any) -> Tensor:
        sizes.append(len(episode.objective.labels))
        return original(self, net, optimizer, episode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HigherUnroll, "meta_loss", record)
        module.learn(batch(0, 0))
        module.learn(batch(0, 1))
    assert sizes == [5, 5]


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    incoming = batch(0, 0)
    with pytest.raises(DivergenceError, match="the outer loss is nan"):
        learner().learn(incoming._replace(images=incoming.images * float("nan")))


def test_the_outer_optimizer_has_the_papers_values() -> None:
    module = learner()
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (0.1, 0.5)
    assert {id(p) for p in group["params"]} == {id(p) for p in module.memory.parameters()}


def test_a_budget_without_room_for_a_matrix_is_one_error_that_says_what_fits() -> None:
    with pytest.raises(
        UserError,
        match=r"memory_images=8 for 4 tasks of 3 classes is images_per_class=0.666667 in a task's memory, and "
        r"num_bases=4 does not fit a budget of 0.666667 .* use num_bases <= 1 or images_per_class >= 1.59",
    ) as error:
        learner(memory_images=8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("slots_per_class", 0, "slots_per_class must be at least 1, got 0"),
        ("reservoir_samples", -1, "reservoir_samples must be at least 0, got -1"),
        ("start_samples", -1, "start_samples must be at least 0, got -1"),
        ("average", 1.0, r"average must lie in \(0, 1\), got 1.0"),
        ("networks", 0, "networks must be at least 1, got 0"),
        ("gradient_clip", 0.0, "gradient_clip must be positive, got 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(argument: str, value: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        learner(**{argument: value})


def from_data(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
    return AddressableMemory(image_shape, num_classes, images_per_class, num_bases=4, downsampling=1, init="data")


def test_a_memory_starts_from_the_first_samples_of_each_task_before_any_outer_step() -> None:
    module = learner(from_data, start_samples=8)
    learn_tasks(module, range(1))
    for task in (0, 1):
        expected = module._fresh_memory()
        held = torch.zeros(CLASSES, dtype=torch.int64)
        for number in range(2):
            for replay in range(2):
                incoming = batch(task, number, replay)
                module.learn(incoming)
                if replay == 0:
                    held = expected.add_to_start(incoming.images, incoming.labels, held)
                if number == 0 or replay == 0:  # 10 of 8 samples are there with the second minibatch
                    torch.testing.assert_close(module.memory.recall(torch.arange(3)), expected.recall(torch.arange(3)))
                else:
                    assert not torch.allclose(module.memory.bases, expected.bases)
        assert len(module.reservoir) == 10
        module.end_task(task)


def test_the_average_over_a_tasks_outer_steps_is_stored() -> None:
    module = learner(average=0.1, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5))
    for task in (0, 1):
        average = module.memory.bases.detach().clone()
        for number in range(5):
            module.learn(batch(task, number))
            bases = module.memory.bases.detach().clone()
            decay = min(0.1, number / (number + 10))
            average = bases if number == 0 else decay * average + (1 - decay) * bases
        assert not torch.allclose(bases, average)
        module.end_task(task)
        torch.testing.assert_close(stored(module, task).bases, average)


def test_a_task_shorter_than_its_start_stores_the_start() -> None:
    module = learner(from_data, start_samples=100, average=0.5)
    module.learn(batch(0, 0))
    bases = module.memory.bases.detach().clone()
    module.end_task(0)
    assert torch.equal(stored(module, 0).bases, bases)


@pytest.mark.parametrize("kind", [AddressableMemory, PixelMemory])
def test_a_start_from_data_needs_its_number_of_samples(kind: type[AddressableMemory] | type[PixelMemory]) -> None:
    def memory(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
        return kind(image_shape, num_classes, images_per_class, init="data")

    with pytest.raises(UserError, match=r"init is data, but start_samples is 0: set model.start_samples"):
        learner(memory)
    with pytest.raises(UserError, match=r"start_samples=8 are for a start from data: set model.memory.init to data"):
        learner(start_samples=8)


def test_a_network_that_does_not_suit_the_images_is_reported_at_once() -> None:
    def refuses(image_shape: tuple[int, int, int], num_classes: int) -> MLP:
        raise UserError("too small")

    with pytest.raises(UserError, match="too small"):
        learner(network=refuses)


def test_memories_of_a_file_take_the_place_of_finished_ones() -> None:
    module, source = learner(), MemorySource("stream.safetensors", "int8", 99)
    memories = [addressable(SHAPE, CLASSES, IMAGES / TASKS / CLASSES) for _ in range(2)]
    module.use_memories(memories, 7, source)
    assert (int(module.finished_tasks), module.trained_steps, module.memory_source) == (2, 7, source)
    for task, memory in enumerate(memories):
        expected = memory.recall(torch.arange(CLASSES))
        assert torch.equal(module.recalled(task)[0], expected.flatten(0, 1))
        assert torch.equal(module.predict_step(task), expected)
        assert not any(parameter.requires_grad for parameter in memory.parameters())
    assert module.predict_step(3).shape == (0, *expected.shape[1:])  # not finished
    with pytest.raises(UserError, match=r"^the memory of task 0 takes \d+ floats, and this learner stores \d+ a task"):
        module.use_memories([addressable(SHAPE, CLASSES, 3)], 7, source)


def test_before_a_task_is_finished_there_is_nothing_to_recall() -> None:
    with pytest.raises(UserError, match=r"^no task of the stream is finished yet: there is nothing to recall"):
        learner().predict_step(0)


def in_eight_bits(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
    return AddressableMemory(
        image_shape, num_classes, images_per_class, num_bases=12, downsampling=1, stored_as="int8", init="data"
    )


def test_memories_in_eight_bits_are_charged_as_stored_and_recall_rounded_numbers() -> None:
    module = learner(in_eight_bits, start_samples=8, average=0.1, sample_bits=8)
    memory = module.memory.storage_bytes
    floats = sum(parameter.numel() for parameter in module.memory.parameters())
    scales = 12 + module.memory.num_slots
    assert memory == floats + 2 * scales <= 384 < 2 * floats  # float16 scales, of each basis and each matrix
    sample = 16 + 8
    for task in range(TASKS):
        assert module.reservoir.capacity == (1536 - task * memory) // sample
        for number in range(6):
            module.training_step(batch(task, number, 0, number == 5), number)
            assert module.storage_bytes == int(module.finished_tasks) * memory + len(module.reservoir) * sample
    for task in range(TASKS):
        kept = stored(module, task)
        bases, addressing = (kept.state_dict()[name] for name in ("_bases", "addressing"))
        assert torch.equal(bases, rounded(bases, "int8"))
        assert torch.equal(addressing, rounded(addressing, "int8"))
        images = torch.einsum("rck,kp->crp", addressing, bases.flatten(1))
        torch.testing.assert_close(module.recalled(task)[0].view(CLASSES, -1, 16), images)


def test_a_number_of_steps_before_rounding_is_refused_as_a_task_does_not_count_them() -> None:
    def floats_first(image_shape: tuple[int, int, int], num_classes: int, images_per_class: float) -> Memory:
        rest: dict[str, Any] = {"num_bases": 4, "downsampling": 1, "stored_as": "int8", "float_steps": 5}
        return AddressableMemory(image_shape, num_classes, images_per_class, **rest)

    with pytest.raises(UserError, match=r"rounded from the first step on: leave memory.float_steps out"):
        learner(floats_first)
