"""The lower bound: a network that learns what comes and remembers nothing."""

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.single_network import SingleNetworkLearner


class Online(SingleNetworkLearner):
    """Stochastic gradient descent on each minibatch of the stream, "Online" in table 3."""

    def learn(self, batch: StreamBatch) -> None:
        """Take one step."""
        self.step(self.gradient(self.loss(batch.images, batch.labels, batch.task)))
