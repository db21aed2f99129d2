"""Meta-experience replay."""

from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.experience_replay import ReplayLearner
from rtp.modules.continual.reptile import SampleLoss, reptile_within_and_across
from rtp.modules.continual.single_network import check_positive
from rtp.modules.networks import NetworkFactory


class MER(ReplayLearner):
    """Learns each sample in several batches, among replayed ones, with Reptile's interpolations within and across them.

    Riemer et al., "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference", ICLR 2019,
    algorithm 1; see `reptile_within_and_across`. The sample at hand is the first of each batch, and replayed ones are
    drawn without replacement, as in the authors' code.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: alpha, of a step on one sample, positive.
        batches_per_sample: s, at least 1.
        batch_size: k, the sample at hand and k - 1 replayed ones, at least 1.
        within_batch: beta, positive.
        across_batches: gamma, positive.
        memory_images: Storage budget, in real images, at least 1.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        total_classes: int,
        num_tasks: int,
        network: NetworkFactory,
        learning_rate: float,
        batches_per_sample: int,
        batch_size: int,
        within_batch: float,
        across_batches: float,
        memory_images: int,
    ) -> None:
        for name, value in (
            ("batches_per_sample", batches_per_sample),
            ("batch_size", batch_size),
            ("within_batch", within_batch),
            ("across_batches", across_batches),
        ):
            check_positive(name, value)
        super().__init__(image_shape, num_classes, total_classes, num_tasks, network, learning_rate, memory_images)
        self.batches_per_sample = batches_per_sample
        self.batch_size = batch_size
        self.within_batch = within_batch
        self.across_batches = across_batches

    def learn(self, batch: StreamBatch) -> None:
        """Learn one sample after the other, and store each before the next."""
        for image, label in zip(batch.images.split(1), batch.labels.split(1), strict=True):
            sample = StreamBatch(image, label, batch.task, batch.replay, last=False)
            reptile_within_and_across(
                self.weights,
                [self._batch(sample) for _ in range(self.batches_per_sample)],
                self.learning_rate,
                self.within_batch,
                self.across_batches,
            )
            self.store(sample)

    def _batch(self, sample: StreamBatch) -> list[SampleLoss]:
        images, labels, tasks = self.reservoir.sample(self.batch_size - 1)
        replayed = zip(images[:, None], labels[:, None], tasks.tolist(), strict=True)
        return [self._loss_of(*each) for each in ((sample.images, sample.labels, sample.task), *replayed)]

    def _loss_of(self, image: Tensor, label: Tensor, task: int) -> SampleLoss:
        return lambda: self.loss(image, label, task)
