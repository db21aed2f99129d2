"""Experience replay with an asymmetric cross-entropy."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.replay.base import ReplayLearner


class ERACE(ReplayLearner):
    """ER-ACE: what comes is told apart from what comes with it; what is replayed, from all classes so far.

    The loss is l(minibatch, classes in the minibatch) + l(replayed samples, classes seen so far, the minibatch's too):
    a class that is new does not push the logits of old ones down. As many samples are replayed as the minibatch has, or
    all there are; then the minibatch is stored.

    Classes are the network's outputs. Where tasks share a head, they are the labels, whatever the task: the minibatch's
    loss is masked to the labels in it, which also happens without a new class (the paper has no such streams). Where
    tasks have heads of their own, classes seen so far are those of all tasks, as in the paper's single head, and not
    those of a sample's own task alone, as for the other learners here; the task's own are compared in `predict`.

    Caccia, Aljundi, Asadi, Tuytelaars, Pineau and Belilovsky, "New Insights on Reducing Abrupt Representation Change in
    Online Continual Learning", ICLR 2022, section 4 and algorithm 1.

    Args:
        **kwargs: As in `ReplayLearner`.

    Attributes:
        seen: (total_classes,) bool, which classes have come; part of the state.

    Raises:
        UserError: If a number is out of its range.
    """

    seen: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_buffer("seen", torch.zeros(self.total_classes, dtype=torch.bool))

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        incoming = self.outputs(batch.labels, batch.task)
        present = torch.zeros_like(self.seen).index_fill(0, incoming, True)
        self.seen |= present
        loss = cross_entropy_over(self.net(batch.images), incoming, present)
        if len(self.reservoir):
            images, labels, tasks = self.reservoir.sample(len(batch.labels))
            loss = loss + cross_entropy_over(self.net(images), self.outputs(labels, tasks), self.seen)
        self.check_finite("the loss", loss)
        self.step(self.gradient(loss))
        self.store(batch)


def cross_entropy_over(logits: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """The mean cross-entropy of logits (n, k) and labels (n,) over the classes of a mask (k,), which has the labels."""
    return F.cross_entropy(logits.masked_fill(~classes, -torch.inf), labels)
