"""Stable SGD: a training regime that forgets less, without a memory."""

from typing import Any

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.single_network import SingleNetworkLearner
from rtp.utils.checks import check_in


class StableSGD(SingleNetworkLearner):
    """Stochastic gradient descent whose rate falls from task to task, so that later tasks move the weights less.

    theta = theta - learning_rate * decay^t grad l, for task t from 0. The rest of the regime is not the learner's:
    dropout is the network's (`MLP`'s `dropout`), and a small minibatch the stream's (`data.batch_size`).

    Deviations from the authors' code: no momentum, as for the other learners here (there 0.8), and the first task has
    the rate itself (there it is decayed once).

    Mirzadeh, Farajtabar, Pascanu and Ghasemzadeh, "Understanding the Role of Training Regimes in Continual Learning",
    NeurIPS 2020.

    Args:
        decay: Factor of the rate from one task to the next, in (0, 1]; the authors use 0.4 to 0.8.
        **kwargs: As in `SingleNetworkLearner`; `learning_rate` is that of the first task.

    Raises:
        UserError: If a number is out of its range.
    """

    def __init__(self, decay: float, **kwargs: Any) -> None:
        check_in("decay", decay, "(0, 1]")
        super().__init__(**kwargs)
        self.decay = decay

    def learn(self, batch: StreamBatch) -> None:
        """Take one step."""
        gradient = self.gradient(self.loss(batch.images, batch.labels, batch.task))
        self.step(gradient, self.learning_rate * self.decay**batch.task)
