"""Evaluation of a memory by training fresh networks on what it recalls (section 5.1)."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from rtp.callbacks.progress import retraining_bar
from rtp.callbacks.run_record import run_folder
from rtp.datamodules import ImageDataModule
from rtp.errors import UserError
from rtp.evaluation.baselines import baseline_sets
from rtp.evaluation.results import Result
from rtp.evaluation.retraining import Candidate
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.distillation.base import Distillation
from rtp.modules.networks import NetworkFactory
from rtp.modules.networks.training import (
    Trainee,
    TrainingProtocol,
    TrainingSet,
    isolated_rng,
    train_networks,
)
from rtp.utils.distributed import all_gather, interleave, shard_indices
from rtp.utils.files import write_json
from rtp.utils.seeds import derived_seed
from rtp.version import __version__


class RetrainingEvaluation(L.Callback):
    """Trains fresh networks on the recalled images and measures them on the validation or test batches.

    In validation it logs `val/accuracy` and `val/accuracy_std`, which ModelCheckpoint and EarlyStopping can
    monitor; in `rtp test` it logs `test/...` and writes `test.json` into the run's folder. The random numbers it
    draws are its own: training goes on as if there had been no evaluation. Each network has its own stream of them,
    which follows from `seed` and the numbers of its training set, its architecture and the network.

    Several processes share the networks out: number i is trained and measured by process i mod N. All of them end
    with the same results, those of a process alone (to rounding, where networks are trained together).

    Args:
        networks: Networks of each architecture in `rtp test`; the paper uses 20 (5.1).
        validation_networks: Networks in validation, which are of the module's own architecture.
        protocol: How a network is trained.
        architectures: Networks that `rtp test` trains (table 6 has three); by default the module's own alone.
        baselines: Whether `rtp test` also trains on random real images that take the same storage, on those that
            herding chooses, on the means of the classes or k-means centres, and on all real images of the training
            split.
        real_epochs: Epochs on all real images, each of which has many more steps than one on recalled images.
        real_batch_size: Real images in a minibatch at most, where networks are trained on all of them; null takes
            that of `protocol`, which is large for the few hundred images of a small task.
        real_learning_rate: Where networks are trained on all real images; null takes that of `protocol`.
        seed: Seed of the networks and minibatches.
        vmapped: Whether the networks of one architecture are trained in one loop, with the same result to rounding;
            null takes what is faster: one loop for 8 networks or more with at most 32 images of 8x8 pixels, or as many
            pixels, in a minibatch. On a GPU, where that was not measured, true may pay for more.
        augmentation: What is done to the images of a minibatch, each with a draw of its own; by default the module's.

    Attributes:
        results: What the last evaluation found, the distilled images first.

    Raises:
        UserError: If a number is below 1.
    """

    def __init__(
        self,
        networks: int = 20,
        validation_networks: int = 3,
        protocol: TrainingProtocol = TrainingProtocol(),  # noqa: B008  # frozen
        architectures: list[NetworkFactory] | None = None,
        baselines: bool = False,
        real_epochs: int = 30,
        seed: int = 0,
        vmapped: bool | None = None,
        augmentation: Augmentation | None = None,
        real_batch_size: int | None = None,
        real_learning_rate: float | None = None,
    ) -> None:
        for name, value in (
            ("networks", networks),
            ("validation_networks", validation_networks),
            ("real_epochs", real_epochs),
            ("real_batch_size", real_batch_size),
        ):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.networks = networks
        self.validation_networks = validation_networks
        self.protocol = protocol
        self.architectures = architectures
        self.baselines = baselines
        self.real_protocol = replace(
            protocol,
            epochs=real_epochs,
            batch_size=real_batch_size or protocol.batch_size,
            learning_rate=protocol.learning_rate if real_learning_rate is None else real_learning_rate,
        )
        self.seed = seed
        self.vmapped = vmapped
        self.augmentation = augmentation
        self.results: list[Result] = []
        self._candidates: list[Candidate] = []

    # Validation ------------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train the networks that the validation batches are going to judge."""
        module = _distillation(pl_module)
        distilled = self._distilled(module)
        with retraining_bar(trainer, len(shard_indices(self.validation_networks)) * self.protocol.epochs) as advance:
            trainees = self._trainees(module, distilled, module.network, self.validation_networks, (0, 0))
            self._candidates = [self._train(module, distilled, trainees, advance)]

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Measure the networks on one batch."""
        self._measure(batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log mean and standard deviation of the accuracy."""
        self._conclude(trainer)
        # the same number in every process, but Lightning wants to be told what to make of several
        pl_module.log("val/accuracy", self.results[0].mean, prog_bar=True, sync_dist=True)
        pl_module.log("val/accuracy_std", self.results[0].std, sync_dist=True)

    # Test ------------------------------------------------------------------------------------------------------

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train the networks of every architecture on every training set."""
        module = _distillation(pl_module)
        architectures = self.architectures or [module.network]
        training_sets = [self._distilled(module)]
        if self.baselines:
            storage = module.memory.storage_floats
            protocols, fresh = (self.protocol, self.real_protocol), partial(module.fresh_network, module.network)
            training_sets += baseline_sets(
                _datamodule(trainer), storage, *protocols, fresh, self._augmentation(module), self.seed
            )
        epochs = sum(training_set.protocol.epochs for training_set in training_sets)
        self._candidates = []
        with retraining_bar(trainer, epochs * len(shard_indices(self.networks)) * len(architectures)) as advance:
            for row, training_set in enumerate(training_sets):
                for column, architecture in enumerate(architectures):
                    trainees = self._trainees(module, training_set, architecture, self.networks, (row, column))
                    self._candidates.append(self._train(module, training_set, trainees, advance))

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Measure the networks on one batch."""
        self._measure(batch)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the accuracies and write them to `test.json`."""
        self._conclude(trainer)
        for result in self.results:
            key = f"{result.training_set.replace(' ', '_')}_{result.architecture}"
            pl_module.log(f"test/{key}", result.mean, sync_dist=True)
        pl_module.log("test/accuracy", self.results[0].mean, sync_dist=True)
        pl_module.log("test/accuracy_std", self.results[0].std, sync_dist=True)
        self._write(trainer, _distillation(pl_module))

    @rank_zero_only
    def _write(self, trainer: L.Trainer, module: Distillation) -> None:
        content = self.results[0].as_dict() | {
            "dataset": _datamodule(trainer).name,
            "split": "test",
            "steps": module.trained_steps,
            "seed": self.seed,
            "checkpoint": None if trainer.ckpt_path is None else Path(trainer.ckpt_path).name,
            "memory": None if module.origin is None else asdict(module.origin),
            "device": str(module.device),
            "rtp_version": __version__,
            "torch_version": torch.__version__,
            "results": [result.as_dict() for result in self.results],
        }
        write_json(run_folder(trainer) / "test.json", content)

    # Both ------------------------------------------------------------------------------------------------------

    def _distilled(self, module: Distillation) -> TrainingSet:
        memory = module.memory
        with torch.no_grad():
            classes = torch.arange(memory.query_dim, device=module.device)
            images = memory.recall(classes).flatten(0, 1)
        labels = classes.repeat_interleave(memory.num_slots)
        stored_bytes = memory.storage_bytes if module.origin is None else module.origin.storage_bytes
        return TrainingSet("distilled", lambda: (images, labels), self.protocol, memory.storage_floats, stored_bytes)

    def _trainees(
        self,
        module: Distillation,
        training_set: TrainingSet,
        architecture: NetworkFactory,
        count: int,
        place: tuple[int, int],
    ) -> list[Trainee]:
        trainees = []
        for number in shard_indices(count):
            seed = derived_seed(self.seed, *place, number)
            with isolated_rng(seed):
                images, labels = training_set.draw()
                trainees.append(Trainee(module.fresh_network(architecture), images, labels, seed))
        return trainees

    def _train(
        self,
        module: Distillation,
        training_set: TrainingSet,
        trainees: list[Trainee],
        advance: Callable[[], object],
    ) -> Candidate:
        augmentation = self._augmentation(module)
        networks = train_networks(trainees, training_set.protocol, augmentation, self.vmapped, advance)
        # each process has networks of its own, whose hits are not to be added to those of the others'
        metrics = [
            MulticlassAccuracy(module.memory.query_dim, average="micro", sync_on_compute=False).to(module.device)
            for _ in networks
        ]
        return Candidate(training_set, len(trainees[0].labels) if trainees else 0, networks, metrics)

    def _augmentation(self, module: Distillation) -> Augmentation | None:
        return self.augmentation or module.augmentation

    def _measure(self, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        for candidate in self._candidates:
            for network, metric in zip(candidate.networks, candidate.metrics, strict=True):
                metric.update(network(images), labels)

    def _conclude(self, trainer: L.Trainer) -> None:
        whole = _datamodule(trainer).num_floats
        shares = all_gather([candidate.found() for candidate in self._candidates])
        self.results = [
            Result(
                training_set=candidate.training_set.name,
                architecture=found[0].architecture,  # the first process has a network in any case
                accuracies=interleave([part.accuracies for part in found]),
                epochs=candidate.training_set.protocol.epochs,
                images=found[0].images,
                storage_floats=candidate.training_set.storage_floats,
                storage_bytes=candidate.training_set.storage_bytes,
                storage_percent=100 * candidate.training_set.storage_floats / whole,
            )
            for candidate, found in zip(self._candidates, zip(*shares, strict=True), strict=True)
        ]
        self._candidates = []  # the networks are not needed any more


def evaluation_of(trainer: L.Trainer) -> RetrainingEvaluation:
    """A trainer's evaluation: not always the configured one, as a module may have put its own in its place."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next(callback for callback in callbacks if isinstance(callback, RetrainingEvaluation))


def _distillation(module: L.LightningModule) -> Distillation:
    if not isinstance(module, Distillation):
        raise UserError(
            "RetrainingEvaluation needs a module with a memory, such as MemoryDistillation, "
            f"got {type(module).__name__}"
        )
    return module


def _datamodule(trainer: L.Trainer) -> ImageDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, ImageDataModule):
        raise UserError(f"RetrainingEvaluation needs an ImageDataModule, got {type(data).__name__}")
    return data
