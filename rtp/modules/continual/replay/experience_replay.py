"""Experience replay with a reservoir."""

from rtp.datamodules.streams.base import StreamBatch
from rtp.modules.continual.replay.base import ReplayLearner


class ExperienceReplay(ReplayLearner):
    """Learns each minibatch together with as many stored samples: algorithm 1 with the reservoir of algorithm 2.

    theta = theta - alpha grad mean of l over the minibatch and the replayed samples; then the minibatch is stored.

    Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019.
    """

    def learn(self, batch: StreamBatch) -> None:
        """Take one step, then store."""
        self.step(self.gradient(self.loss(*self.with_replay(batch))))
        self.store(batch)
