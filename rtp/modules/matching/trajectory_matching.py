"""The LightningModule that learns a memory by trajectory matching, a baseline.

Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (MTT), CVPR 2022.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD
from tqdm import tqdm

from rtp.errors import UserError
from rtp.modules.distillation.unrolled import UnrolledDistillation
from rtp.modules.matching.base import refuse_buffers
from rtp.modules.matching.experts import ExpertBuffer, default_folder, made_of, train_expert
from rtp.modules.networks.training import TrainingProtocol
from rtp.modules.unroll.base import Episode, WeightLoss, draw_minibatches
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.utils.checks import check_at_least
from rtp.utils.distributed import rank_and_world_size
from rtp.utils.seeds import derived_seed

log = logging.getLogger(__name__)


class TrajectoryMatching(UnrolledDistillation):
    """Distils a data set into a memory that moves networks as the real images do.

    Before the first step, expert networks are trained on all real training images, or taken from an earlier run. An
    outer step draws an expert and a start epoch t, trains a network from the weights theta*_t for N inner steps on
    recalled images of all classes, and descends "Long-Range Parameter Matching",

        |theta_N - theta*_{t+M}|^2 / |theta*_t - theta*_{t+M}|^2.

    The real images of a batch are not used: the experts were trained on them.

    Deviations: MTT learns the student's learning rate too, starting from 0.01; here the inner optimizer's is fixed, as
    the evaluation retrains networks at a rate of its own and a memory is no more than its images. MTT draws one
    operation of the augmentation for a minibatch, here each image has its own. MTT cuts a minibatch at random from all
    images, here it has the same number of every class.

    Args:
        experts: Number of experts; MTT has 100.
        expert_epochs: M, epochs of the expert that the N inner steps have to match.
        max_start_epoch: The last epoch t to start after: 0, ..., max_start_epoch are equally likely. (The authors' code
            leaves the last one out.)
        expert_protocol: How experts are trained; the defaults are MTT's. At most `max_start_epoch` + `expert_epochs` of
            its epochs are used.
        expert_seed: Seed of the experts, at least 0: runs with other seeds share them.
        experts_dir: Folder of the experts; null for one in rtp's cache, named after all that they are made of.
        inner_optimizer: The student's update rule; the default is what MTT's starts from.
        optimizer: The outer optimizer; MTT's is SGD with momentum 0.5 and, at 1 image a class, learning rate 100.
        **kwargs: As in `UnrolledDistillation`. The networks have no running statistics. The augmentation is drawn for
            each image, of the experts and of the student, and anew at each inner step.
    """

    def __init__(
        self,
        experts: int,
        expert_epochs: int,
        max_start_epoch: int,
        expert_protocol: TrainingProtocol = TrainingProtocol(50, 256, 0.01, 0.0),  # noqa: B008  # frozen
        expert_seed: int = 0,
        experts_dir: str | None = None,
        inner_optimizer: InnerOptimizer = InnerSGD(0.01, 0.0),  # noqa: B008  # frozen
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=100, momentum=0.5),
        **kwargs: Any,
    ) -> None:
        check_at_least("experts", experts, 1)
        check_at_least("expert_epochs", expert_epochs, 1)
        check_at_least("max_start_epoch", max_start_epoch, 0)
        check_at_least("expert_seed", expert_seed, 0)
        if max_start_epoch + expert_epochs > expert_protocol.epochs:
            raise UserError(
                f"experts of {expert_protocol.epochs} epochs end before max_start_epoch {max_start_epoch} + "
                f"expert_epochs {expert_epochs}: use expert_protocol.epochs >= {max_start_epoch + expert_epochs}"
            )
        super().__init__(inner_optimizer=inner_optimizer, optimizer=optimizer, **kwargs)
        self.experts = experts
        self.expert_epochs = expert_epochs
        self.max_start_epoch = max_start_epoch
        self.expert_protocol = expert_protocol
        self.expert_seed = expert_seed
        self.experts_dir = experts_dir
        self.buffer: ExpertBuffer | None = None

    def on_fit_start(self) -> None:
        """Train the missing experts; processes share them out, and wait for each other.

        Raises:
            UserError: If the network has running statistics, or the folder holds experts of something else.
        """
        super().on_fit_start()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        images, labels = data.train_set
        network = self.fresh_network(self.network)
        refuse_buffers("TrajectoryMatching", network)
        facts = made_of(data.name, images, labels, network, self.expert_protocol, self.augmentation, self.expert_seed)
        folder = Path(self.experts_dir).expanduser() if self.experts_dir else default_folder(facts)
        self.buffer = ExpertBuffer(folder, facts, self.expert_protocol.epochs)
        self._prepare(self.buffer, images, labels)
        self.trainer.strategy.barrier()

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The `matching_loss` of a student; see `Distillation.outer_loss`."""
        assert self.buffer is not None  # training has started
        expert, start = int(torch.randint(self.experts, ())), int(torch.randint(self.max_start_epoch + 1, ()))
        weights = self.buffer.weights(expert, (start, start + self.expert_epochs))
        theta, target = (vector.to(self.device) for vector in weights)
        student = self.fresh_network(self.network)
        nn.utils.vector_to_parameters(theta, student.parameters())
        episode = self._episode(lambda theta_n: matching_loss(theta_n, theta, target))
        return self.unroll.meta_loss(student, self.inner_optimizer, episode)

    def _episode(self, objective: WeightLoss) -> Episode:
        num_classes, num_slots = self.memory.query_dim, self.memory.num_slots
        classes = torch.arange(num_classes, device=self.device)
        images, labels = self.memory.recall(classes).flatten(0, 1), classes.repeat_interleave(num_slots)
        minibatches = draw_minibatches(num_classes, num_slots, self.slots_per_class, self.unroll.num_steps)
        minibatches = minibatches.to(self.device)  # (N, b)
        if self.augmentation is not None:
            # each step's images are augmented before the loop: the augmentation is differentiated once
            chosen = minibatches.flatten()
            draws = self.augmentation.sample(len(chosen), self.device)
            images, labels = self.augmentation.apply(images[chosen], draws), labels[chosen]
            minibatches = torch.arange(len(chosen), device=self.device).view_as(minibatches)
        return Episode(images, labels, minibatches, objective)

    def _prepare(self, buffer: ExpertBuffer, images: Tensor, labels: Tensor) -> None:
        rank, world_size = rank_and_world_size()
        missing = [number for number in range(rank, self.experts, world_size) if not buffer.holds(number)]
        if not missing:
            return
        epochs = self.expert_protocol.epochs
        log.info("training %d experts for %d epochs each, kept in %s", len(missing), epochs, buffer.folder)
        hidden = self.trainer.progress_bar_callback is None or not self.trainer.is_global_zero
        with tqdm(
            total=len(missing) * epochs, desc="training experts", unit="epoch", leave=False, disable=hidden
        ) as bar:
            # first what no other run is training; then what others were training, in case they were stopped
            others: list[int] = []
            for wait, numbers in ((False, missing), (True, others)):
                for number in numbers:
                    with buffer.claimed(number, wait) as free:
                        if not free:
                            others.append(number)
                        elif buffer.holds(number):
                            bar.update(epochs)
                        else:
                            buffer.store(number, self._trained_expert(number, images, labels, bar.update))

    def _trained_expert(self, number: int, images: Tensor, labels: Tensor, on_epoch: Callable[[], object]) -> Tensor:
        build, seed = partial(self.fresh_network, self.network), derived_seed(self.expert_seed, number)
        return train_expert(build, images, labels, self.expert_protocol, self.augmentation, seed, on_epoch)


def matching_loss(theta: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """|theta - target|^2 / |start - target|^2: 1 for a student that stayed where it started, 0 for one that arrived.

    The student's weights theta_N (P,) started from the expert's theta*_t; the target is theta*_{t+M}.
    """
    return (theta - target).square().sum() / (start - target).square().sum()
