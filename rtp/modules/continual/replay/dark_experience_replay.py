"""Dark experience replay: stored samples with the logits that the network once gave them."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from rtp.datamodules.streams.base import StreamBatch
from rtp.errors import UserError
from rtp.modules.continual.replay.base import ReplayLearner
from rtp.modules.continual.stores.base import FLOAT_BYTES
from rtp.modules.continual.stores.logit_reservoir import LogitReservoir
from rtp.utils.checks import check_at_least


class DarkExperienceReplay(ReplayLearner):
    """DER++: replays the labels of stored samples, and the logits that the network had when they came.

    The loss is l(minibatch) + alpha mean (z' - h(x'))^2 + beta l(x'', y''), where x' with logits z' and x'' with labels
    y'' are independent draws of as many samples as the minibatch has, or all there are. h are all outputs of the
    network, those of other tasks' heads too, as in the paper. After the step the minibatch is stored with its logits
    from before the step. With beta = 0 this is the paper's DER.

    Logits are charged to the budget, at 4 bytes each, so fewer images fit than `memory_images`.

    Deviations from the paper: its squared distance of logits is a sum over the outputs, here the mean, as in the
    authors' code; and where tasks have heads of their own, a sample's cross-entropy is over those of its own task, as
    for the other learners here, while the paper's network is trained on all classes and masked when it is tested.

    Buzzega, Boschini, Porrello, Abati and Calderara, "Dark Experience for General Continual Learning: a Strong, Simple
    Baseline", NeurIPS 2020, section 3 and algorithm 2.

    Args:
        alpha: Weight of the logits, at least 0.
        beta: Weight of the labels, at least 0.
        memory_images: Storage budget, in real images; images with logits must fit at least once.
        **kwargs: As in `ReplayLearner`.

    Raises:
        UserError: If a number is out of its range.
    """

    reservoir: LogitReservoir

    def __init__(self, alpha: float, beta: float, memory_images: int, **kwargs: Any) -> None:
        check_at_least("alpha", alpha, 0)
        check_at_least("beta", beta, 0)
        super().__init__(memory_images=memory_images, **kwargs)
        self.alpha = alpha
        self.beta = beta

    def _fresh_reservoir(self) -> LogitReservoir:
        capacity = self.num_places(self.sample_bits, self.total_classes * FLOAT_BYTES)
        if not capacity:
            raise UserError(
                f"memory_images={self.memory_images} holds no image with its {self.total_classes} logits: raise it"
            )
        return LogitReservoir(capacity, self.image_shape, self.total_classes, self.sample_bits)

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        logits, count = self.net(batch.images), len(batch.labels)
        loss = self.loss_of_logits(logits, batch.labels, batch.task)
        if len(self.reservoir):
            loss = loss + self.alpha * self._distance(*self.reservoir.sample_logits(count))
            loss = loss + self.beta * self.loss(*self.reservoir.sample(count))
        self.step(self.gradient(loss))
        if batch.replay == 0:
            self.reservoir.add_with_logits(batch.images, batch.labels, batch.task, logits.detach())

    def _distance(self, images: Tensor, logits: Tensor) -> Tensor:
        distance = F.mse_loss(self.net(images), logits)
        self.check_finite("the distance of the logits", distance)
        return distance
