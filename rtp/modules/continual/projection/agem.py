"""Averaged gradient episodic memory: GEM with one constraint."""

from typing import Any

from torch import Tensor

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.projection.base import EpisodicLearner
from rtp.utils.checks import check_positive


class AGEM(EpisodicLearner):
    """A-GEM: steps along the nearest gradient that does not increase the loss on a draw from the earlier tasks' memory.

    See `project_onto_reference`; the reference is the gradient of the mean loss on random stored samples of earlier
    tasks. The first task is plain descent.

    Deviation from the paper: it stores random samples of a task when the task is over; here they are the last of the
    stream, the same memory as GEM's, as no other sample is there any more.

    Chaudhry, Ranzato, Rohrbach and Elhoseiny, "Efficient Lifelong Learning with A-GEM", ICLR 2019, section 4 and
    algorithm 2.

    Args:
        reference_samples: Stored samples drawn for a step, at least 1; all there are if fewer.
        **kwargs: As in `EpisodicLearner`.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, reference_samples: int, **kwargs: Any) -> None:
        check_positive("reference_samples", reference_samples)
        super().__init__(**kwargs)
        self.reference_samples = reference_samples

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        gradient = self.gradient(self.loss(batch.images, batch.labels, batch.task))
        if batch.task:
            drawn = self.rings.sample(self.reference_samples, before=batch.task)
            gradient = project_onto_reference(gradient, self.gradient(self.loss(*drawn)))
        self.step(gradient)
        self.store(batch)


def project_onto_reference(gradient: Tensor, reference: Tensor) -> Tensor:
    """The gradient nearest to g whose product with g_ref is not negative (equation 11 of A-GEM).

    g if <g, g_ref> >= 0, otherwise g - <g, g_ref> / <g_ref, g_ref> g_ref.

    Args:
        gradient: (P,) g, of the minibatch.
        reference: (P,) g_ref, of stored samples.
    """
    product = gradient @ reference
    return gradient if product >= 0 else gradient - product / (reference @ reference) * reference
