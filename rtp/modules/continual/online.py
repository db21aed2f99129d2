"""The lower bound: a network that learns what comes and remembers nothing."""

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.single_network import SingleNetworkLearner


class Online(SingleNetworkLearner):
    """Stochastic gradient descent on each minibatch of the stream, "Online" in table 3.

    Args:
        image_shape: (C, H, W), taken from the stream.
        num_classes: Classes of one task, taken from the stream.
        total_classes: Outputs of the network, taken from the stream, see `ContinualLearner`.
        num_tasks: Number of tasks T, taken from the stream.
        network: The network to train.
        learning_rate: Of a step, positive.
    """

    def learn(self, batch: StreamBatch) -> None:
        """Take one step."""
        self.step(self.gradient(self.loss(batch.images, batch.labels, batch.task)))
